"""What each message is worth: the derivative of an energy by the message from j to i.

Attention weights say how strongly i reads j, not what follows. This does, to first
order, scalar, vector and matrix messages together, in the unit of the target.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.utils.hooks import RemovableHandle
from torch_geometric.data import Data

from molflt.analysis.attention import (
    SeenAtoms,
    attentions,
    chosen_layers,
    head_names,
    one_graph,
    picked,
)
from molflt.analysis.attention_rows import (
    additive_rows,
    far_message_rows,
    summed_images,
)
from molflt.analysis.contributions import one_target
from molflt.errors import UsageError
from molflt.features import features_of, with_adsorbates_alone
from molflt.model import FLTModel
from molflt.nn.additive import AdditiveAttention
from molflt.nn.attention import FLTAttention
from molflt.nn.geometry import Geometry
from molflt.nn.masked import MaskedAttention

Of = Literal["total", "atom"]


@dataclass(frozen=True)
class Attribution:
    r"""First-order effect of the messages that atoms i receive in one layer.

        e_hij = d E / d t_hij at t = 1,   every message of head h from j to i times t

    Negative: the message lowers the energy. Summed over j it is the effect of all that
    head h says to atom i.

    Attributes:
        layer: Index of the layer.
        atoms: The atoms i (m,).
        heads: Names of the heads, as in `AttentionRows`.
        effects: e_hij (h, m, n), in `unit`.
        of: "total": E is the whole prediction; "atom": E is atom i's own term.
        unit: Unit of the target.
    """

    layer: int
    atoms: NDArray[np.int64]
    heads: tuple[str, ...]
    effects: NDArray[np.float64]
    of: Of
    unit: str


def message_attribution(
    model: FLTModel,
    graph: Data,
    atoms: ArrayLike,
    target: str | None = None,
    of: Of = "total",
    layers: Sequence[int] | None = None,
) -> list[Attribution]:
    """Return the effect on the energy of each message to `atoms`, layer by layer.

    One pass forwards; one backwards for "total", one for each atom for "atom". Memory
    is that of a training step and of m x n numbers a head and layer. Messages are those
    in the whole system, also where an energy counts from the adsorbate by itself.

    Args:
        model: The model.
        graph: One structure.
        atoms: Indices of the atoms i, or a mask (n,).
        target: Name of the target; None: the only one.
        of: "total": effect on the whole prediction; "atom": on the term E_i of the
            atom that receives the message (`atom_contributions`).
        layers: Indices of layers; None: all.

    Raises:
        InputError: As `attention_rows`.
        UsageError: A batch, an index out of range, a target that is no sum over
            atoms, or another word for `of`.

    Source: gradient times input (Shrikumar et al., arXiv 1605.01713, Sec. 2), with
    messages as the inputs.
    """
    if of not in ("total", "atom"):
        raise UsageError(f"of must be 'total' or 'atom', received {of!r}.")
    graph = one_graph(model, graph)
    spec = one_target(model, target)
    wanted = chosen_layers(model, layers)
    index = picked(len(graph.z), atoms, "atoms")
    seen = SeenAtoms(model, graph)
    taps = [_Tap(attentions(model)[k]) for k in wanted]
    with torch.inference_mode(False), torch.enable_grad():
        try:
            for tap in taps:
                tap.open()
            features = features_of(model.encoder, graph)
        finally:
            for tap in taps:
                tap.close()
        if spec.interaction:
            features = with_adsorbates_alone(model.encoder, features)
        share = model.shares(spec.name, features, graph, references=False)
        effects = [
            np.zeros((len(head_names(tap.heads)), len(index), len(graph.z)))
            for tap in taps
        ]
        rows = (
            [slice(None)]
            if of == "total"
            else [slice(k, k + 1) for k in range(len(index))]
        )
        leaves = [leaf for tap in taps for leaf in tap.leaves]
        for row in rows:
            atom = torch.as_tensor(index[row], device=graph.z.device)
            places = seen.places(index[row])
            if not len(places):
                continue
            output = share.sum() if of == "total" else share[atom].sum()
            slopes = iter(torch.autograd.grad(output, leaves, retain_graph=True))
            for effect, tap in zip(effects, taps, strict=True):
                own = [next(slopes) for _ in tap.leaves]
                effect[:, row] = seen.whole(tap.effects(own, places), index[row])
    return [
        Attribution(layer, index, head_names(tap.heads), effect, of, spec.unit)
        for layer, tap, effect in zip(wanted, taps, effects, strict=True)
    ]


@dataclass
class _Tap:
    """Where the messages of one layer pass: gates and zeros that are differentiated.

    Near heads: a gate of 1 on each pair's kernels, which all its messages contain. Far
    heads and those of `additive`: a zero added to the sum of messages; its gradient
    times each message is the effect of that message, as sums are linear.
    """

    attention: FLTAttention
    leaves: list[Tensor] = field(default_factory=list)
    handles: list[RemovableHandle] = field(default_factory=list)
    received: tuple[Tensor, Geometry] | None = None

    @property
    def heads(self) -> MaskedAttention | AdditiveAttention:
        """The attention's heads."""
        return self.attention.heads

    def open(self) -> None:
        """Hook the layer's modules, for one forward pass."""
        heads = self.heads
        self.handles.append(self.attention.register_forward_pre_hook(self._keep))
        if isinstance(heads, AdditiveAttention):
            self.handles.append(heads.mix.register_forward_pre_hook(self._before))
            return
        if heads.near is not None:
            kernel = heads.near.kernel
            self.handles.append(kernel.register_forward_hook(self._gate))
        if heads.far is not None:
            self.handles.append(heads.far.register_forward_hook(self._after))

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self.handles:
            handle.remove()

    def _keep(self, _: torch.nn.Module, args: tuple[Any, ...]) -> None:
        self.received = (args[0].detach(), args[2])

    def _leaf(self, value: Tensor) -> Tensor:
        self.leaves.append(value.detach().clone().requires_grad_(True))
        return self.leaves[-1]

    def _gate(self, _: torch.nn.Module, args: tuple[Any, ...], out: Tensor) -> Tensor:
        return out * self._leaf(torch.ones_like(out[0]))

    def _after(
        self, _: torch.nn.Module, args: tuple[Any, ...], out: tuple[Tensor | None, ...]
    ) -> tuple[Tensor | None, ...]:
        return tuple(
            None if part is None else part + self._leaf(torch.zeros_like(part))
            for part in out
        )

    def _before(self, _: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Tensor, ...]:
        return (args[0] + self._leaf(torch.zeros_like(args[0])),)

    @torch.no_grad()
    def effects(self, slopes: list[Tensor], atoms: Tensor) -> Tensor:
        """Return the effects (h, m, n) of messages to `atoms`, from the gradients."""
        assert self.received is not None
        x, geometry = self.received
        heads = self.heads
        if isinstance(heads, AdditiveAttention):
            values = heads.split(x)[2]
            slope = slopes[0].view_as(values)[atoms]
            read = torch.einsum("ihd,jhd->hij", slope, values)
            return additive_rows(heads, x, geometry, atoms) * read
        parts = []
        if heads.near is not None:
            gates = slopes[0]  # by pair (h, e)
            parts.append(
                summed_images(lambda mine: gates[:, mine], geometry, atoms, len(x))
            )
        if heads.far is not None:
            rest = slopes[-2:] if heads.vectors else slopes[-1:]
            parts.append(far_message_rows(heads.far, x, geometry, atoms, *rest))
        return torch.cat(parts)
