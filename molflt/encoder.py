"""FLTEncoder: from atoms to features, embedding and layers."""

import inspect
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch_geometric.data import Data

from molflt.encoder_inputs import check_inputs
from molflt.encoder_options import check_options
from molflt.errors import InputError
from molflt.graph.index import graph_index
from molflt.graph.neighbors import NeighborPairs
from molflt.graph.subsurface import part_of, seen_atoms
from molflt.nn.additive import Estimator
from molflt.nn.attention import NEAR_MIN_WIDTH, FLTAttention, Form
from molflt.nn.cutoff import PolynomialCutoff
from molflt.nn.density.features import DensityFeatures
from molflt.nn.embedding import AtomEmbedding
from molflt.nn.geometry import Geometry
from molflt.nn.heads import Path
from molflt.nn.layer import FLTLayer
from molflt.nn.near.paths import near_path, num_rows
from molflt.nn.spectra.by_name import SpectrumName
from molflt.nn.spectra.frequencies import Sampling
from molflt.nn.spectra.shells import RadialShells
from molflt.typing import (
    AtomIndex,
    Cells,
    GraphIndex,
    NodeScalars,
    NodeVectors,
    Periodicity,
    Positions,
    Species,
)

MAX_PADDING = 1.3  # slots over atoms


class FLTEncoder(nn.Module):
    r"""A stack of FLT layers over atoms at positions r_i in R^3.

    Species, tags and neighbours give the first features; each layer adds attention
    with an encoding f(r_i - r_j) that is known through its learned spectrum g.

    Args:
        width: Channels of scalar features.
        num_layers: Number of layers.
        form: "masked": weight softplus(q_i).softplus(k_j) f(r_ij), unnormalised, near
            and far heads; "additive": softmax of q.k / sqrt(d) + f, the paper's.
        num_near_heads: Heads with f of compact support (`masked`).
        num_far_heads: Heads with f of any reach; all heads of `additive` are far.
        cutoff: Support of the near heads and of the neighbour sum [Å].
        vector_width: Channels of vector features (`masked` only); 0: scalars alone.
        near_components: Radial shells shared by all near heads.
        near_band: Largest frequency of the near heads [cycles/Å].
        far_components: Radial shells (or free blobs) of the far heads of a layer.
        far_band: Largest frequency of the far heads [cycles/Å].
        far_min_width: Smallest spectral width of the far heads [cycles/Å]; f reaches
            5 / (2 pi far_min_width) Å.
        head_width: Scalar value channels of a near head.
        vector_head_width: Vector value channels of a near head.
        matrix_head_width: Channels of a near head for symmetric traceless matrices,
            which see angles; 0, or no vector features: none.
        far_head_width: Value channels of a far head.
        expansion: Hidden width of the layers' MLP over `width`.
        density_elements: Elements that the first features tell apart by two- and
            three-body sums, such as "HCNOF" (`DensityFeatures`); "": no such features.
            `molflt fit` and `FLTTask` fit them to the training structures, loops of
            your own call `molflt.density.fit_density` before the first step.
        density_components: Principal components of these sums for each element.
        density_order: Order to which they see angles, 0 to 3.
        density_cutoff: Reach of their three-body sums [Å].
        estimator: `additive`: "softmax" (exact) or "favor" (linear; another function).
        spectrum: `additive`: "radial" (rotation-invariant mixture), "free" (the
            paper's), or one kernel for each head: "gaussian", "laplace", "matern",
            "ball" (rotation-invariant), "box" or "triangle". All but "radial" are for
            open systems; "favor" takes "radial", "free" and "gaussian".
        num_frequencies: `additive`: random frequencies of each head.
        num_features: `additive`, "favor": random features of the softmax kernel.
        sampling: `additive`: how frequencies are drawn.
        seed: Seed of the random frequencies and features.
        far_tolerance: Error of the far heads of `masked` where they are not evaluated
            pair by pair, relative to the sum of absolute values.
        skip_subsurface: Leave out atoms with tag 0, as if they were not there: `seen`.

    Options marked `masked` have no effect on the additive form, so that `form` alone
    can be changed in a configuration. Those marked `additive` are refused with the
    masked form, which is the default: to set one means that the form was forgotten.

    Raises:
        ValueError: A size out of range, or options that contradict each other.

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
        vector_width: int = 64,
        near_components: int = 32,
        near_band: float = 3.0,
        far_components: int = 8,
        far_band: float = 0.25,
        far_min_width: float = 0.02,
        head_width: int = 16,
        vector_head_width: int = 8,
        matrix_head_width: int = 0,
        far_head_width: int = 8,
        expansion: float = 1.0,
        density_elements: str = "",
        density_components: int = 300,
        density_order: int = 3,
        density_cutoff: float = 4.0,
        estimator: Estimator = "softmax",
        spectrum: SpectrumName = "radial",
        num_frequencies: int = 32,
        num_features: int = 64,
        sampling: Sampling = "sobol",
        seed: int = 0,
        far_tolerance: float = 1e-4,
        skip_subsurface: bool = False,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            name: value
            for name, value in locals().items()
            if name not in ("self", "__class__")
        }
        parameters = inspect.signature(FLTEncoder).parameters
        check_options(self.config, {k: p.default for k, p in parameters.items()})
        self.width, self.cutoff, self.form = width, cutoff, form
        self.vector_width = vector_width if form == "masked" else 0
        self.skip_subsurface = skip_subsurface
        self.near_shells = RadialShells(near_components, near_band, NEAR_MIN_WIDTH)
        self.far_shells = RadialShells(far_components, far_band, far_min_width)
        if (num_far_heads == 0) if form == "masked" else (spectrum != "radial"):
            self.far_shells.requires_grad_(False)  # checked, but no head has them
        density = None
        if density_elements:
            reach = PolynomialCutoff(min(density_cutoff, cutoff))
            density = DensityFeatures(
                *(width, density_elements, density_components, density_order),
                *(PolynomialCutoff(cutoff), reach),
            )
        self.embedding = AtomEmbedding(width, self.near_shells, cutoff, density)
        self.layers = nn.ModuleList(
            FLTLayer(
                width,
                FLTAttention(
                    width,
                    form,
                    num_near_heads=num_near_heads,
                    num_far_heads=num_far_heads,
                    cutoff=cutoff,
                    vector_width=self.vector_width,
                    near_shells=self.near_shells,
                    far_shells=self.far_shells,
                    head_width=head_width,
                    vector_head_width=vector_head_width,
                    matrix_head_width=matrix_head_width,
                    far_head_width=far_head_width,
                    estimator=estimator,
                    spectrum=spectrum,
                    num_frequencies=num_frequencies,
                    num_features=num_features,
                    sampling=sampling,
                    seed=seed + 2 * index,
                    far_tolerance=far_tolerance,
                ),
                expansion,
            )
            for index in range(num_layers)
        )
        self.norm = nn.LayerNorm(width)

    def seen_index(self, data: Data) -> AtomIndex | None:
        """Return which atoms of a graph or batch of graphs the encoder looks at (m,).

        None: all of them, as none are sub-surface, or these are not left out.

        Raises:
            InputError: Sub-surface atoms are left out, and a graph has no others.
        """
        return seen_atoms(data) if self.skip_subsurface else None

    def seen(self, data: Data) -> Data:
        """Return a graph or batch of graphs with the atoms of `seen_index` alone."""
        index = self.seen_index(data)
        return data if index is None else part_of(data, index)

    def geometry(self, data: Data, pairs: NeighborPairs | None = None) -> Geometry:
        """Return places, neighbour pairs and padding of a graph or batch of graphs.

        Args:
            data: The graph or batch; of `seen` atoms alone, if `pairs` are given.
            pairs: Its pairs within the cutoff, if they are at hand; None: search.
        """
        if pairs is None:
            data = self.seen(data)
        geometry = Geometry.of(
            *(data.pos, *graph_index(data)),
            cutoff=self.cutoff if pairs is None else None,
            cell=data.get("cell"),
            pbc=data.get("pbc"),
            dtype=self.norm.weight.dtype,
        )
        if pairs is not None:
            geometry.set_pairs(*pairs, cutoff=self.cutoff)
        return geometry

    def forward(
        self,
        z: Species | Data,
        pos: Positions | None = None,
        batch: GraphIndex | None = None,
        *,
        cell: Cells | None = None,
        pbc: Periodicity | None = None,
        tags: Int[Tensor, " n"] | None = None,
        geometry: Geometry | None = None,
        path: Path = "auto",
    ) -> tuple[NodeScalars, NodeVectors | None]:
        """Return scalar features (n, c) and vector features (n, 3, w) or None.

        Of the atoms that are `seen`, where some are left out.

        Args:
            z: Atomic numbers (n,); or a PyG `Data` or `Batch` that has all the fields.
            pos: Positions (n, 3) [Å].
            batch: Graph of each atom (n,), ascending; None: one graph.
            cell: Lattice vectors as rows (g, 3, 3) [Å]; None: open systems.
            pbc: Periodic directions (g, 3); None: open systems.
            tags: 0 sub-surface, 1 surface, 2 adsorbate, -1 none (n,); None: none.
            geometry: What `geometry(data)` returned, if it is at hand.
            path: "auto", "dense" or "linear" evaluation of the same function.

        Raises:
            InputError: Fields are missing or do not go together, a position is not
                finite, or (on the CPU; a GPU ends with an error of its own) there is no
                such element or tag.
        """
        if isinstance(z, Data):
            data = z
        else:
            fields = {"z": z, "pos": pos, "batch": batch, "cell": cell, "pbc": pbc}
            data = Data(**{k: v for k, v in fields.items() if v is not None}, tags=tags)
        check_inputs(data)
        data = self.seen(data)
        if geometry is None:
            geometry = self.geometry(data)
        if len(data.z) != len(geometry.batch):
            raise InputError(
                f"There are {len(data.z)} atoms, and the geometry has "
                f"{len(geometry.batch)}: it is that of other graphs."
            )
        geometry = geometry.in_pass()
        z, tags = data.z.long(), data.get("tags")
        if tags is None:
            tags = torch.full_like(z, -1)
        slot = None
        if self._uses_slots(geometry, path):
            slot, geometry = geometry.slot, geometry.in_slots()
        elif self._has_pairs_alone and (count := num_rows(path, geometry)) > len(z):
            slot = torch.arange(len(z), device=z.device)
            geometry = geometry.in_rows(count)
        if slot is not None:
            z = z.new_zeros(len(geometry.batch)).index_copy(0, slot, z)
            tags = tags.new_full(z.shape, -1).index_copy(0, slot, tags)
        x = self.embedding(z, tags, geometry)
        vec = None
        if self.vector_width:
            vec = x.new_zeros(len(x), 3, self.vector_width)
        for layer in self.layers:
            x, vec = layer(*geometry.refreshed(x, vec), geometry, path)
        if slot is not None:
            x = x.index_select(0, slot)
            vec = None if vec is None else vec.index_select(0, slot)
        return self.norm(x), vec

    @property
    def _has_pairs_alone(self) -> bool:
        """Whether atoms know of each other through pairs of neighbours and no more."""
        return self.form == "masked" and not self.config["num_far_heads"]

    def _uses_slots(self, geometry: Geometry, path: Path) -> bool:
        """Whether atoms are padded to equal graphs: small ones, of similar size."""
        if self.form != "masked":
            return False
        if near_path(path, geometry) != "dense":
            return False
        return geometry.num_graphs * geometry.size <= MAX_PADDING * len(geometry.batch)
