"""FLTEncoder: atoms to features. FLTModel: features to energies. Read this first."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from molflt.data.tags import TagRule
from molflt.neighbors import neighbor_pairs
from molflt.nn.additive import Estimator
from molflt.nn.attention import NEAR_MIN_WIDTH, FLTAttention, Form
from molflt.nn.block import FLTLayer
from molflt.nn.embedding import NUM_SPECIES, AtomEmbedding
from molflt.nn.frequencies import Sampling
from molflt.nn.geometry import Geometry
from molflt.nn.near import Path
from molflt.nn.segment import segment_mean, segment_sum
from molflt.nn.shells import RadialShells
from molflt.targets import TargetSpec
from molflt.typing import NodeScalars, NodeVectors


class FLTEncoder(nn.Module):
    r"""A stack of FLT layers over atoms at positions r_i in R^3.

    Species, tags and a sum over neighbours give the first features; each layer adds
    attention whose relative positional encoding f(r_i - r_j) is known through its
    learned spectrum, f(D) = Int g(xi) exp(2 pi i xi.D) d xi.

    Args:
        width: Channels of scalar and vector features.
        num_layers: Number of layers.
        form: "masked": weight softplus(q_i).softplus(k_j) f(r_ij), unnormalised, near
            and far heads; "additive": softmax of q.k / sqrt(d) + f, the paper's.
        num_near_heads: Heads with f of compact support (`masked`).
        num_far_heads: Heads with f of any reach; all heads of `additive` are far.
        cutoff: Support of the near heads and of the neighbour sum [Å].
        vectors: Whether atoms carry vector features (`masked` only).
        near_components: Radial shells shared by all near heads.
        near_band: Largest frequency of the near heads [cycles/Å].
        far_components: Radial shells (or free blobs) of the far heads of a layer.
        far_band: Largest frequency of the far heads [cycles/Å].
        far_min_width: Smallest spectral width of the far heads [cycles/Å]; f reaches
            5 / (2 pi far_min_width) Å.
        head_width: Value channels of a near head.
        far_head_width: Value channels of a far head.
        estimator: `additive`: "softmax" (exact) or "favor" (linear; another function).
        spectrum: `additive`: "radial" (rotation-invariant) or "free" (the paper's).
        num_frequencies: `additive`: random frequencies of each head.
        num_features: `additive`, "favor": random features of the softmax kernel.
        sampling: `additive`: how frequencies are drawn.
        seed: Seed of the random frequencies and features.

    Raises:
        ValueError: Options that contradict each other.

    Source: arXiv 2302.01925 (FLT); arXiv 2107.07999 (masked form).
    """

    def __init__(
        self,
        width: int = 128,
        num_layers: int = 4,
        form: Form = "masked",
        num_near_heads: int = 6,
        num_far_heads: int = 2,
        cutoff: float = 5.0,
        vectors: bool = True,
        near_components: int = 32,
        near_band: float = 3.0,
        far_components: int = 8,
        far_band: float = 0.25,
        far_min_width: float = 0.04,
        head_width: int = 16,
        far_head_width: int = 8,
        estimator: Estimator = "softmax",
        spectrum: Literal["radial", "free"] = "radial",
        num_frequencies: int = 32,
        num_features: int = 64,
        sampling: Sampling = "sobol",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            name: value
            for name, value in locals().items()
            if name not in ("self", "__class__")
        }
        self.width, self.cutoff, self.form = width, cutoff, form
        self.vectors = vectors and form == "masked"
        self.near_shells = RadialShells(near_components, near_band, NEAR_MIN_WIDTH)
        self.far_shells = RadialShells(far_components, far_band, far_min_width)
        self.embedding = AtomEmbedding(width, self.near_shells, cutoff)
        self.layers = nn.ModuleList(
            FLTLayer(
                width,
                FLTAttention(
                    width,
                    form,
                    num_near_heads,
                    num_far_heads,
                    cutoff,
                    self.vectors,
                    self.near_shells,
                    self.far_shells,
                    head_width,
                    far_head_width,
                    estimator,
                    spectrum,
                    num_frequencies,
                    num_features,
                    sampling,
                    seed + 2 * index,
                ),
            )
            for index in range(num_layers)
        )
        self.norm = nn.LayerNorm(width)

    def geometry(self, data: Data) -> Geometry:
        """Return places, neighbour pairs and padding of a graph or batch of graphs."""
        batch = data.batch
        if batch is None:
            batch = torch.zeros(len(data.z), dtype=torch.int64, device=data.z.device)
            num_graphs = 1
        else:
            num_graphs = data.num_graphs
        cell, pbc = data.get("cell"), data.get("pbc")
        geometry = Geometry(
            data.pos, batch, num_graphs, cell, pbc, self.norm.weight.dtype
        )
        pairs = neighbor_pairs(data.pos, batch, num_graphs, self.cutoff, cell, pbc)
        geometry.set_pairs(*pairs)
        return geometry

    def forward(
        self, data: Data, geometry: Geometry | None = None, path: Path = "auto"
    ) -> tuple[NodeScalars, NodeVectors | None]:
        """Return scalar features (n, c) and vector features (n, 3, c) or None.

        Args:
            data: A graph or a batch of graphs: z (n,), pos (n, 3) [Å], and, where there
                are any, batch (n,), cell (g, 3, 3), pbc (g, 3) and tags (n,).
            geometry: What `geometry(data)` returned, if it is at hand.
            path: "auto", "dense" or "linear" evaluation of the same function.
        """
        if geometry is None:
            geometry = self.geometry(data)
        tags = data.get("tags")
        if tags is None:
            tags = torch.full_like(data.z, -1)
        x = self.embedding(data.z, tags, geometry)
        vec = x.new_zeros(len(x), 3, self.width) if self.vectors else None
        for layer in self.layers:
            x, vec = layer(x, vec, geometry, path)
        return self.norm(x), vec


class FLTModel(nn.Module):
    r"""Encoder, a readout per target, atom references and normaliser.

        E = mean + sum_i (std * out_i + reference[z_i])      (extensive targets)
        E = mean + std * (1/n) sum_i out_i                   (intensive targets)

    Offsets are added in float64: a total energy of 10^4 eV keeps its meV.

    Args:
        encoder: The encoder.
        targets: What is predicted, in which unit, with which meaning.
    """

    def __init__(self, encoder: FLTEncoder, targets: Sequence[TargetSpec]) -> None:
        super().__init__()
        if not targets:
            raise ValueError("a model needs at least one target")
        self.encoder = encoder
        self.targets = tuple(targets)
        self.statistics: dict[str, dict[str, Any]] = {}
        width = encoder.width
        self.readouts = nn.ModuleDict()
        for spec in self.targets:
            last = nn.Linear(width, 1)
            nn.init.zeros_(last.bias)
            with torch.no_grad():
                last.weight.mul_(0.1)  # a sum over atoms starts near zero
            self.readouts[spec.name] = nn.Sequential(
                nn.Linear(width, width), nn.SiLU(), last
            )
            self.register_buffer(
                f"reference_{spec.name}", torch.zeros(NUM_SPECIES, dtype=torch.float64)
            )
            self.register_buffer(
                f"normaliser_{spec.name}", torch.tensor([0.0, 1.0], dtype=torch.float64)
            )

    def _apply(self, fn: Callable[..., Tensor], recurse: bool = True) -> "FLTModel":
        """Move as modules do, but keep offsets in float64 whatever the weights are."""
        offsets = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, value in offsets.items():
            moved = self._buffers[name]
            if value is not None and moved is not None:
                self._buffers[name] = value.to(moved.device)
        return self

    def target_spec(self, name: str) -> TargetSpec:
        """Return the description of target `name`; KeyError if the model lacks it."""
        return {spec.name: spec for spec in self.targets}[name]

    @property
    def num_parameters(self) -> int:
        """Number of learned numbers."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def set_statistics(self, name: str, statistics: dict[str, Any]) -> None:
        """Take atom references, mean and standard deviation from a training set.

        Args:
            name: The target.
            statistics: Plain dictionary with ``element_reference`` (value by atomic
                number), ``mean`` and ``std`` in the target's unit; other entries are
                kept for the record.
        """
        reference = self.get_buffer(f"reference_{name}")
        reference.zero_()
        for z, value in statistics["element_reference"].items():
            reference[int(z)] = float(value)
        normaliser = self.get_buffer(f"normaliser_{name}")
        normaliser[0] = float(statistics["mean"])
        normaliser[1] = float(statistics["std"])
        self.statistics[name] = dict(statistics)

    def _offset(self, name: str, data: Data) -> Tensor:
        """Return mean + sum_i reference[z_i] of each graph (g,), float64."""
        geometry_batch, num_graphs = _graphs(data)
        per_atom = self.get_buffer(f"reference_{name}")[data.z]
        total = per_atom.new_zeros(num_graphs).index_add(0, geometry_batch, per_atom)
        return total + self.get_buffer(f"normaliser_{name}")[0]

    def contributions(self, data: Data, path: Path = "auto") -> dict[str, Tensor]:
        """Return out_i of each atom (n,) for each target, in units of std."""
        x, _ = self.encoder(data, path=path)
        return {name: head(x).squeeze(1) for name, head in self.readouts.items()}

    def normalised(self, data: Data, path: Path = "auto") -> dict[str, Tensor]:
        """Return predictions less their offset, in units of std (g,): for the loss."""
        batch, num_graphs = _graphs(data)
        out = {}
        for name, per_atom in self.contributions(data, path).items():
            extensive = self.target_spec(name).extensive
            reduce = segment_sum if extensive else segment_mean
            out[name] = reduce(per_atom, batch, num_graphs)
        return out

    def normalise(self, name: str, value: Tensor, data: Data) -> Tensor:
        """Return labels less their offset, in units of std (g,), for the loss."""
        std = self.get_buffer(f"normaliser_{name}")[1]
        shifted = (value.double() - self._offset(name, data)) / std
        return shifted.to(self.encoder.norm.weight.dtype)

    def physical(self, name: str, normalised: Tensor, data: Data) -> Tensor:
        """Return the prediction (g,) in the target's unit, float64."""
        std = self.get_buffer(f"normaliser_{name}")[1]
        return normalised.double() * std + self._offset(name, data)

    def forward(self, data: Data, path: Path = "auto") -> dict[str, Tensor]:
        """Return each target of each graph (g,) in its unit, float64."""
        out = self.normalised(data, path)
        return {name: self.physical(name, value, data) for name, value in out.items()}

    @torch.no_grad()
    def predict(
        self, structures: Sequence[Any], batch_size: int = 32, tags: TagRule = "auto"
    ) -> dict[str, np.ndarray]:
        """Return every target of ASE structures, in order, in the target's unit.

        Args:
            structures: `ase.Atoms` objects.
            batch_size: Structures evaluated at once.
            tags: Convention of their tags: "oc20", "ase", "auto" or "none".

        Raises:
            InputError: A structure cannot be used; its number is named.
        """
        from molflt.structures import predict_structures

        return predict_structures(self, structures, batch_size, tags)


def _graphs(data: Data) -> tuple[Tensor, int]:
    if data.batch is None:
        return torch.zeros_like(data.z), 1
    return data.batch, data.num_graphs
