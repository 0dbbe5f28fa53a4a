"""What the layers need to know of atoms' places: pairs, padding, and lattice modes.

Built once per forward pass and shared by all layers.
"""

import copy
import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from molflt.errors import InputError
from molflt.nn.displacements import PairIndex, displacements
from molflt.nn.pairs import AllPairs, Pairs
from molflt.typing import Cells, GraphIndex, Periodicity, Positions

PAIR_MULTIPLE = 512  # lists of pairs in slots have few different lengths
MAX_PHASES = 2**28  # atoms x modes: 6 GiB in float64 with cosines and sines


class Modes:
    """Reciprocal-lattice vectors G of each graph's box, half of them (G and -G pair).

        sum over T of f(D + T) = (1 / V) sum over G of g(G) exp(2 pi i G.D)

    so with weights 2 / V for every G kept and 1 / V for G = 0 the sum runs over
    cos(2 pi G.D) alone. Padded to the graph with most modes; padding has weight 0.

    Args:
        vectors: G (g, m, 3) [cycles/Å].
        weights: Weight of each G (g, m) [1/Å^3].
        phase: 2 pi G.r of each atom, padded (g, a, m).
        mask: 1 where a slot holds an atom, otherwise 0 (g, a).
    """

    def __init__(
        self,
        vectors: Float[Tensor, "g m 3"],
        weights: Float[Tensor, "g m"],
        phase: Float[Tensor, "g a m"],
        mask: Float[Tensor, "g a"],
    ) -> None:
        self.vectors = vectors
        self.weights = weights
        self.cos = torch.cos(phase) * mask.unsqueeze(2)
        self.sin = torch.sin(phase) * mask.unsqueeze(2)


class Geometry:
    """Atoms of a batch of graphs: ragged rows, padded slots, pairs and modes.

    Positions are centred on their graph in float64 and only then cast, so that a
    structure 1,000 Å from the origin loses nothing.

    Args:
        pos: Positions (n, 3) [Å], float64 for full precision.
        batch: Graph of each atom (n,), ascending.
        num_graphs: Number of graphs g.
        cell: Lattice vectors as rows (g, 3, 3) [Å], or None.
        pbc: Periodic directions (g, 3), or None.
        dtype: Floating-point type of everything handed to the layers.
    """

    def __init__(
        self,
        pos: Positions,
        batch: GraphIndex,
        num_graphs: int,
        cell: Cells | None,
        pbc: Periodicity | None,
        dtype: torch.dtype,
    ) -> None:
        self.batch = batch
        self.num_graphs = num_graphs
        self.dtype = dtype
        counts = torch.bincount(batch, minlength=num_graphs)
        self.counts = counts
        self.size = int(counts.max()) if len(batch) else 0  # atoms of the largest graph
        # Graphs of one size need no padding, and rows and slots are the same memory.
        self.is_full = num_graphs * self.size == len(batch)
        starts = counts.cumsum(0) - counts
        self.local = torch.arange(len(batch), device=batch.device) - starts[batch]
        self.slot = batch * self.size + self.local  # (n,) row in the padded arrays
        wide = pos.double()
        centre = wide.new_zeros(num_graphs, 3).index_add(0, batch, wide)
        centre = centre / counts.clamp(min=1).unsqueeze(1)
        self.centred = wide - centre[batch]
        self.cell = None if cell is None else cell.double()
        self.pbc = (
            pbc
            if pbc is not None
            else batch.new_zeros((num_graphs, 3), dtype=torch.bool)
        )
        self.is_periodic = pbc is not None and bool(pbc.any())
        self.pairs: Pairs | None = None
        self._all_pairs: AllPairs | None = None
        self._modes: dict[tuple[float, float], Modes] = {}

    def set_pairs(self, first: Tensor, second: Tensor, shift: Tensor) -> None:
        """Hold the neighbour pairs (i, j, shift), each unordered pair once.

        Args:
            first: Atom i (p,).
            second: Atom j (p,).
            shift: Lattice vectors (p, 3) by which the image of j is moved.
        """
        cell = self.cell if self.is_periodic else None
        index = PairIndex(first, second, None if cell is None else shift, self.batch)
        delta = displacements(self.centred, cell, index, self.dtype)
        self.pairs = Pairs(first, second, delta)

    def in_slots(self) -> "Geometry":
        """Return the same systems with a row for each slot, padding included.

        Layers then see the same few shapes in every batch of graphs of similar size,
        for which matrix products are compiled once; and padding is done once instead
        of in every layer. Padding has no pairs and no part in any sum over atoms.
        """
        padded = copy.copy(self)
        rows = torch.arange(self.num_graphs * self.size, device=self.batch.device)
        padded.batch, padded.local = rows // self.size, rows % self.size
        padded.slot, padded.is_full = rows, True
        padded.centred = self.pad(self.centred).flatten(0, 1)
        if self.pairs is not None:
            padded.pairs = self.pairs.in_slots(self.slot, PAIR_MULTIPLE)
        padded._all_pairs = None
        # Modes hold padded arrays already: they are the same, and shared.
        return padded

    def pad(self, rows: Float[Tensor, " n *f"]) -> Float[Tensor, "g a *f"]:
        """Spread ragged rows over padded slots; padding is 0."""
        if self.is_full:
            return rows.view(self.num_graphs, self.size, *rows.shape[1:])
        out = rows.new_zeros(self.num_graphs * self.size, *rows.shape[1:])
        out = out.index_copy(0, self.slot, rows)
        return out.view(self.num_graphs, self.size, *rows.shape[1:])

    def unpad(self, padded: Float[Tensor, "g a *f"]) -> Float[Tensor, " n *f"]:
        """Return the ragged rows of a padded array."""
        if self.is_full:
            return padded.flatten(0, 1)
        return padded.reshape(-1, *padded.shape[2:]).index_select(0, self.slot)

    @property
    def mask(self) -> Bool[Tensor, "g a"]:
        """True where a padded slot holds an atom."""
        return torch.arange(self.size, device=self.batch.device) < self.counts[:, None]

    def pair_slot(self) -> Int[Tensor, " e"]:
        """Row of each directed pair in a (g, a, a) array, both directions."""
        assert self.pairs is not None
        i, j = self.pairs.receiver, self.pairs.sender
        return self.slot[i] * self.size + self.local[j]

    @property
    def all_pairs(self) -> AllPairs:
        """All pairs of atoms of each graph, images not counted."""
        if self._all_pairs is None:
            padded, mask = self.pad(self.centred), self.mask
            delta = (padded[:, :, None] - padded[:, None]).to(self.dtype)
            apart = ~torch.eye(self.size, dtype=torch.bool, device=mask.device)
            valid = mask[:, :, None] & mask[:, None, :] & apart
            self._all_pairs = AllPairs(delta, valid)
        return self._all_pairs

    def forget(self) -> None:
        """Drop functions of distances: parameters may have changed since."""
        for distances in (self.pairs, self._all_pairs):
            if distances is not None:
                distances.forget()

    def modes(self, band: float, reach: float) -> Modes:
        """Frequencies that represent a band-limited kernel in each graph's box.

        Periodic directions keep their lattice vectors, so periodicity is exact. In an
        open direction the box is the extent of the atoms plus `reach`: images are then
        farther than the kernel reaches.

        Args:
            band: Largest |G| kept [cycles/Å].
            reach: Distance [Å] beyond which the kernel counts as zero.

        Raises:
            InputError: Atoms times modes would not fit in memory.
        """
        if (band, reach) not in self._modes:
            self._modes[band, reach] = self._find_modes(band, reach)
        return self._modes[band, reach]

    def _find_modes(self, band: float, reach: float) -> Modes:
        box = self._boxes(reach)
        inverse = torch.linalg.inv(box)  # columns: reciprocal vectors without 2 pi
        # |m_i| = |G . a_i| <= band |a_i| for every G within the band.
        limit = torch.ceil(band * torch.linalg.vector_norm(box, dim=2)).long()
        top = limit.amax(dim=0).tolist()
        self._refuse_too_many(math.prod(2 * m + 1 for m in top) // 2)
        axes = [torch.arange(-m, m + 1, device=box.device) for m in top]
        grid = torch.cartesian_prod(*axes)
        m0, m1, m2 = grid.unbind(1)
        half = (m0 > 0) | ((m0 == 0) & ((m1 > 0) | ((m1 == 0) & (m2 >= 0))))
        grid = grid[half].double()  # (k, 3)
        vectors = torch.einsum("kj,gxj->gkx", grid, inverse)
        kept = torch.linalg.vector_norm(vectors, dim=2) <= band  # (g, k)
        count = int(kept.sum(1).max())
        self._refuse_too_many(self.size * count)
        order = kept.int().argsort(dim=1, descending=True, stable=True)[:, :count]
        vectors = vectors.gather(1, order[..., None].expand(-1, -1, 3))
        twice = 2.0 - (grid.square().sum(1) == 0).double()  # 1 for G = 0
        weights = (twice * kept).gather(1, order) / torch.linalg.det(box).abs()[:, None]
        # Fractional coordinates first: the phase of an atom far out keeps its digits.
        fraction = torch.einsum("nx,nxj->nj", self.centred, inverse[self.batch])
        phase = torch.einsum("gaj,gkj->gak", self.pad(fraction), grid[order])
        phase = 2 * math.pi * (phase - torch.round(phase).detach())
        return Modes(
            vectors.to(self.dtype),
            weights.to(self.dtype),
            phase.to(self.dtype),
            self.mask.to(self.dtype),
        )

    def _refuse_too_many(self, numbers: int) -> None:
        if self.num_graphs * numbers > MAX_PHASES:
            raise InputError(
                f"Far heads need {self.num_graphs * numbers:,} lattice phases for "
                f"{self.size:,} atoms in a box of this size, more than fits in memory; "
                "use a smaller batch, or a model without far heads."
            )

    def _boxes(self, reach: float) -> Float[Tensor, "g 3 3"]:
        """Lattice vectors; open directions orthogonal to them and long enough."""
        identity = torch.eye(3, dtype=torch.float64, device=self.batch.device)
        cell = (
            self.cell
            if self.cell is not None
            else identity.new_zeros(self.num_graphs, 3, 3)
        )
        boxes = []
        for index, periodic in enumerate(self.pbc.tolist()):
            if all(periodic):
                boxes.append(cell[index])
                continue
            inside = self.centred[self.batch == index].detach()
            rows: list[Tensor | None] = [
                cell[index, k] if periodic[k] else None for k in range(3)
            ]
            for k in range(3):
                if rows[k] is None:
                    rows[k] = _open_direction(
                        [row for row in rows if row is not None],
                        inside,
                        reach,
                        identity,
                    )
            boxes.append(torch.stack([row for row in rows if row is not None]))
        return torch.stack(boxes)


def _open_direction(
    rows: list[Tensor], inside: Tensor, reach: float, identity: Tensor
) -> Float[Tensor, "3"]:
    """A vector orthogonal to `rows`, as long as the atoms' extent along it + reach."""
    if rows:
        basis = torch.linalg.qr(torch.stack(rows).T.detach()).Q  # (3, k)
        rest = identity - basis @ basis.T
    else:
        rest = identity
    axis = rest[:, rest.norm(dim=0).argmax()]
    axis = axis / axis.norm()
    along = inside @ axis
    return axis * (along.max() - along.min() + reach)
