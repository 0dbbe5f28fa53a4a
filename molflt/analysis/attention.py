"""Exact attention weights of chosen atoms, row by row, as numpy arrays."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch_geometric.data import Data

from molflt.analysis.attention_rows import additive_rows, far_rows, near_rows
from molflt.domain import Domain
from molflt.errors import UsageError
from molflt.model import FLTModel
from molflt.nn.additive import AdditiveAttention
from molflt.nn.attention import FLTAttention
from molflt.nn.geometry import Geometry
from molflt.nn.layer import FLTLayer
from molflt.nn.masked import MaskedAttention


@dataclass(frozen=True)
class AttentionRows:
    r"""Weights a_ij with which chosen atoms i read the values of all atoms j.

    Masked layers: a_ij = softplus(q_i).softplus(k_j) sum_T f_h(r_i - r_j - T) / (2 d_q)
    for d_q channels of q, summed over images T: *signed and
    unnormalised*. A negative weight subtracts what j says; rows have no particular sum;
    heads are not on one scale. Additive layers: the rows of the softmax (or of its
    FAVOR+ estimate, where the model uses that), which sum to 1.

    Attributes:
        layer: Index of the layer.
        atoms: The atoms i (m,).
        heads: Names of the heads: "near 1", "near 2", ..., "far 1", ...
        weights: a_ij (h, m, n).
        signed: Whether weights are signed and unnormalised (masked layers).
    """

    layer: int
    atoms: NDArray[np.int64]
    heads: tuple[str, ...]
    weights: NDArray[np.float64]
    signed: bool

    @property
    def shares(self) -> NDArray[np.float64]:
        """|a_ij| / sum_j |a_ij| (h, m, n); 0 where a row is 0 (no neighbours)."""
        size = np.abs(self.weights)
        total = size.sum(axis=2, keepdims=True)
        return np.divide(size, total, out=np.zeros_like(size), where=total > 0)


@torch.no_grad()
def attention_rows(
    model: FLTModel,
    graph: Data,
    atoms: ArrayLike,
    layers: Sequence[int] | None = None,
) -> list[AttentionRows]:
    """Return the attention weights of `atoms` in each layer.

    Only the rows asked for are computed: memory is that of a forward pass and of m x n
    numbers a head, never n x n.

    Args:
        model: The model.
        graph: One structure (`molflt.data.molecule.atoms_to_graph`).
        atoms: Indices of the atoms i, or a mask (n,).
        layers: Indices of layers; None: all.

    Raises:
        InputError: The model knows nothing of its species, or its energy counts from an
            adsorbate and no atom has a tag.
        UsageError: No model, no graph, a batch of several structures, an index out of
            range, or a periodic structure whose images an `additive` model has no sum
            over.
    """
    graph = one_graph(model, graph)
    index = picked(len(graph.z), atoms, "atoms")
    return next(attention_row_blocks(model, graph, index, layers, max(1, len(index))))


@torch.no_grad()
def attention_row_blocks(
    model: FLTModel,
    graph: Data,
    atoms: ArrayLike | None = None,
    layers: Sequence[int] | None = None,
    block: int = 256,
) -> Iterator[list[AttentionRows]]:
    """Yield the attention weights of a few atoms after the other.

    The encoder runs once. Memory is that of `block` x n numbers a head and layer, so
    every row of a large structure can be looked at, none is kept.

    Args:
        model: The model.
        graph: One structure.
        atoms: Indices of the atoms i, or a mask (n,); None: all.
        layers: Indices of layers; None: all.
        block: Atoms at once, at least 1.

    Raises:
        InputError: As `attention_rows`.
        UsageError: As `attention_rows`, or a block of no atoms.
    """
    if block < 1:
        raise UsageError(f"block must be at least 1, not {block}.")
    graph = one_graph(model, graph)
    wanted = chosen_layers(model, layers)
    everything = np.arange(len(graph.z))
    index = picked(len(graph.z), everything if atoms is None else atoms, "atoms")
    seen = SeenAtoms(model, graph)
    inputs = [(args[0], args[2]) for _, args in received_by(model, graph)]
    # One block of no atoms, where none are asked for.
    for start in range(0, max(1, len(index)), block):
        part = index[start : start + block]
        yield [
            _rows(attentions(model)[k].heads, k, inputs[k], part, seen) for k in wanted
        ]


class SeenAtoms:
    """Which atoms a model looks at; all others have rows and columns of zeros.

    Args:
        model: The model.
        graph: One structure.
    """

    def __init__(self, model: FLTModel, graph: Data) -> None:
        index = model.encoder.seen_index(graph)
        self._seen = torch.arange(len(graph.z)) if index is None else index.cpu()
        self._place = torch.full((len(graph.z),), -1)
        self._place[self._seen] = torch.arange(len(self._seen))
        self._device = graph.z.device

    def places(self, atoms: NDArray[np.int64]) -> Tensor:
        """Return the rows of those atoms that are seen, as the encoder numbers them."""
        place = self._place[torch.as_tensor(atoms)]
        return place[place >= 0].to(self._device)

    def whole(self, rows: Tensor, atoms: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return rows (h, m, n) of all `atoms`, from those of `places`."""
        found = rows.double().cpu()
        out = found.new_zeros(len(found), len(atoms), len(self._place))
        mine = (self._place[torch.as_tensor(atoms)] >= 0).nonzero()
        out[:, mine, self._seen] = found
        return np.asarray(out.numpy())


def chosen_layers(model: FLTModel, layers: Sequence[int] | None) -> list[int]:
    """Return indices of layers, all of them for None; UsageError if out of range."""
    depth = len(model.encoder.layers)
    chosen = range(depth) if layers is None else layers
    return [int(layer) for layer in picked(depth, chosen, "layers")]


def attentions(model: FLTModel) -> list[FLTAttention]:
    """Return the attention of each layer."""
    return [
        cast(FLTLayer, layer).attention for layer in one_model(model).encoder.layers
    ]


def head_names(heads: MaskedAttention | AdditiveAttention) -> tuple[str, ...]:
    """Return "near 1", "near 2", ..., "far 1", ...: every head of a layer."""
    if isinstance(heads, AdditiveAttention):
        counts = {"far": heads.num_heads}
    else:
        counts = {
            group: module.num_heads
            for group, module in (("near", heads.near), ("far", heads.far))
            if module is not None
        }
    return tuple(
        f"{group} {number}"
        for group, count in counts.items()
        for number in range(1, count + 1)
    )


def one_model(model: FLTModel) -> FLTModel:
    """Return the model; UsageError for a checkpoint's name, a calculator or a list."""
    if not hasattr(model, "encoder"):
        raise UsageError(
            "The analysis takes one model, which molflt.load returns (of a FLTTask it "
            f"is .model), not {type(model).__name__}."
        )
    return model


def one_graph(model: FLTModel, graph: Data) -> Data:
    """Return the graph on the model's device.

    Raises:
        InputError: The model knows nothing of its species, or its energy counts from an
            adsorbate and no atom has a tag.
        UsageError: No model, no graph, or a batch of several structures.
    """
    one_model(model)
    if not isinstance(graph, Data):
        raise UsageError(
            "The analysis takes a graph, which molflt.data.molecule.atoms_to_graph "
            f"makes of ASE's Atoms, not {type(graph).__name__}."
        )
    if graph.batch is not None and graph.num_graphs != 1:
        raise UsageError(
            f"The analysis takes one structure; this is a batch of {graph.num_graphs}."
        )
    z = graph.z.cpu().numpy()
    tags = graph.tags.cpu().numpy() if "tags" in graph else np.full(len(z), -1)
    Domain([model]).refuse_unknown({"z": z, "tags": tags}, "The structure")
    with torch.inference_mode(False):  # tensors made in it have no derivatives
        return graph.clone().to(next(model.parameters()).device)


def picked(size: int, chosen: ArrayLike, name: str) -> NDArray[np.int64]:
    """Return indices below `size`; UsageError, with `name`, for anything else."""
    wanted = np.asarray(chosen)
    if wanted.size == 0 and wanted.dtype != bool:
        return np.zeros(0, dtype=np.int64)
    if wanted.ndim > 1:
        raise UsageError(f"{name} must be one list, received shape {wanted.shape}.")
    try:
        return np.atleast_1d(np.arange(size, dtype=np.int64)[wanted])
    except IndexError as error:
        raise UsageError(
            f"{name} must be indices below {size} or a mask of that length ({error})."
        ) from error


def received_by(model: FLTModel, graph: Data) -> list[tuple[FLTAttention, Any]]:
    """Run the encoder; return each attention with the arguments that it received."""
    received: list[tuple[FLTAttention, Any]] = []

    def keep(module: torch.nn.Module, args: tuple[Any, ...]) -> None:
        assert isinstance(module, FLTAttention)
        received.append((module, args))

    hooks = [module.register_forward_pre_hook(keep) for module in attentions(model)]
    try:
        model.encoder(graph)
    finally:
        for hook in hooks:
            hook.remove()
    return received


def _rows(
    heads: MaskedAttention | AdditiveAttention,
    layer: int,
    received: tuple[Tensor, Geometry],
    index: NDArray[np.int64],
    seen: SeenAtoms,
) -> AttentionRows:
    places = seen.places(index)
    parts: list[Tensor] = []
    if isinstance(heads, AdditiveAttention):
        parts.append(additive_rows(heads, *received, places))
    else:
        if heads.near is not None:
            parts.append(near_rows(heads.near, *received, places))
        if heads.far is not None:
            parts.append(far_rows(heads.far, *received, places))
    weights = seen.whole(torch.cat(parts), index)
    signed = isinstance(heads, MaskedAttention)
    return AttentionRows(layer, index, head_names(heads), weights, signed)
