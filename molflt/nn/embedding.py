"""First features of an atom: its species, its tag and its neighbours."""

import torch
from jaxtyping import Int
from torch import Tensor, nn

from molflt.elements import NUM_SPECIES
from molflt.graph.host import fetched, segment_count
from molflt.nn.cutoff import PolynomialCutoff
from molflt.nn.density.features import DensityFeatures
from molflt.nn.edges.filters import filter_kernels, filter_sums
from molflt.nn.geometry import Geometry
from molflt.nn.near.paths import can_stream, near_path
from molflt.nn.plain import is_plain
from molflt.nn.segment import segment_sum
from molflt.nn.spectra.shells import RadialShells
from molflt.typing import NodeScalars, Species

NUM_TAGS = 4  # -1 (no tag), 0, 1, 2


class AtomEmbedding(nn.Module):
    r"""x_i = LN(E[z_i] + T[tag_i] + W_e sum_j (W c(r_ij) phi(r_ij)) * E'[z_j]) + B_i.

    The sum runs over neighbours and periodic images; phi are radial shells, c a cutoff;
    B are `DensityFeatures`, if there are any. All are linear in the number of atoms,
    like everything else in the encoder.

    Where T is 0 tags say nothing, and it stays 0 in further training: `forget_tags`.

    Args:
        width: Channels c.
        shells: Radial shells.
        cutoff: Distance [Å] within which atoms are neighbours.
        density: Features B; None: none.
    """

    def __init__(
        self,
        width: int,
        shells: RadialShells,
        cutoff: float,
        density: DensityFeatures | None = None,
    ) -> None:
        super().__init__()
        self.species = nn.Embedding(NUM_SPECIES, width)
        self.tag = nn.Embedding(NUM_TAGS, width)
        self.neighbour = nn.Embedding(NUM_SPECIES, width)
        self.shells = shells
        self.cutoff = PolynomialCutoff(cutoff)
        self.filter = nn.Linear(shells.num_components, width, bias=False)
        self.mix = nn.Linear(width, width)
        self.density = density
        self.norm = nn.LayerNorm(width)
        self.register_load_state_dict_post_hook(_keep_tags_forgotten)

    def forget_tags(self) -> None:
        """Let no tag make a difference, for models that are trained without any.

        Otherwise a structure with tags would meet rows of T that nothing was learned
        about.
        """
        nn.init.zeros_(self.tag.weight)
        self.tag.requires_grad_(False)

    def forward(
        self, z: Species, tags: Int[Tensor, " n"], geometry: Geometry
    ) -> NodeScalars:
        """Return the first scalar features (n, c).

        Args:
            z: Atomic numbers (n,).
            tags: 0 sub-surface, 1 surface, 2 adsorbate, -1 none (n,).
            geometry: Places and neighbour pairs.
        """
        around = self.mix(self._around(z, geometry))
        x = self.norm(self.species(z) + self.tag(tags + 1) + around)
        return x if self.density is None else x + self.density(z, geometry)

    def _around(self, z: Species, geometry: Geometry) -> NodeScalars:
        """Return the sum over neighbours (n, c)."""
        pairs = geometry.found_pairs
        if self._in_rows(geometry):
            edges = pairs.edges(len(z), self.shells, self.cutoff, self.filter.weight)
            return filter_sums(self.neighbour(z), edges)
        components = pairs.windowed(self.shells, self.cutoff)  # (t, p)
        # The filter is linear, so shells are summed per neighbouring species first:
        # T numbers a pair instead of c, and a product per species instead of per pair.
        (atoms,) = fetched(segment_count(z, NUM_SPECIES))
        present = torch.tensor([n for n, c in enumerate(atoms) if c], dtype=torch.int64)
        kinds = present.to(z.device, non_blocking=True)
        numbers = torch.arange(len(kinds), device=z.device)
        kind = z.new_zeros(NUM_SPECIES).index_copy(0, kinds, numbers)[z]
        slot = pairs.receiver * len(kinds) + kind[pairs.sender]
        rows = components.T.repeat(2, 1)  # both directions of each pair
        summed = segment_sum(rows, slot, len(z) * len(kinds))
        filters = self.filter(summed).unflatten(0, (len(z), len(kinds)))
        return (filters * self.neighbour(kinds)).sum(dim=1)

    def _in_rows(self, geometry: Geometry) -> bool:
        """Whether the sum runs over rows of edges: large systems, or compiled."""
        if not is_plain(self.filter) or not can_stream(self.filter.weight):
            return False
        if near_path("linear", geometry) == "streamed":
            return True
        dense = near_path("auto", geometry) == "dense"
        weight = self.filter.weight
        return not dense and filter_kernels(weight, len(weight)) is not None


def _keep_tags_forgotten(embedding: AtomEmbedding, keys: object) -> None:
    if not embedding.tag.weight.any():
        embedding.tag.requires_grad_(False)
