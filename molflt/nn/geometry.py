"""What the layers need to know of atoms' places: pairs, padding, and lattice modes.

Built once per forward pass and shared by all layers.
"""

import copy
from itertools import accumulate

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from molflt.graph.host import layout_of, longest, segment_count
from molflt.graph.neighbors import neighbor_pairs
from molflt.graph.places import check_places
from molflt.nn.displacements import PairIndex, displacements
from molflt.nn.exchange import Ranks
from molflt.nn.far.boxes import boxes
from molflt.nn.far.lattice import Lattice, Modes
from molflt.nn.far.nufft import wrapped
from molflt.nn.once import Once
from molflt.nn.pairs import AllPairs, Pairs
from molflt.nn.segment import segment_mean
from molflt.nn.spectra.shells import RadialShells
from molflt.typing import (
    Cells,
    GraphIndex,
    NodeScalars,
    NodeVectors,
    Periodicity,
    Positions,
)

PAIR_MULTIPLE = 512  # lists of pairs in slots have few different lengths


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

    Raises:
        ValueError: `batch` is not ascending.
        InputError: As `check_places` and `layout_of`.
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
        check_places(pos, batch, num_graphs, cell, pbc)
        self.batch = batch
        self.num_graphs = num_graphs
        self.dtype = dtype
        wide = pos.double()
        self.centred = wide - segment_mean(wide, batch, num_graphs)[batch]
        self.layout = layout_of(batch, num_graphs, pbc, longest(self.centred))
        self.size = max(self.layout.sizes, default=0)  # atoms of the largest graph
        # Of the systems themselves, whatever rows there are: costs follow from these.
        self.num_atoms, self.largest = len(batch), self.size
        # Graphs of one size need no padding, and rows and slots are the same memory.
        self.is_full = num_graphs * self.size == len(batch)
        self.counts = segment_count(batch, num_graphs)
        starts = self.counts.cumsum(0) - self.counts
        self.local = torch.arange(len(batch), device=batch.device) - starts[batch]
        self.slot = batch * self.size + self.local  # (n,) row in the padded arrays
        self.inside = self.centred.detach(), batch  # what boxes must hold
        self.ranks: Ranks | None = None  # processes that hold the other atoms
        self.cell = None if cell is None else cell.double()
        nowhere = batch.new_zeros((num_graphs, 3), dtype=torch.bool)
        self.pbc = nowhere if pbc is None else pbc
        self.is_periodic = self.layout.is_periodic
        self.pairs: Pairs | None = None
        self._pair_slot: Tensor | None = None
        self.once = Once()

    @classmethod
    def of(
        cls,
        pos: Positions,
        batch: GraphIndex | None = None,
        num_graphs: int | None = None,
        *,
        cutoff: float | None = None,
        cell: Cells | None = None,
        pbc: Periodicity | None = None,
        dtype: torch.dtype | None = None,
    ) -> "Geometry":
        """Return the geometry of systems, with the pairs that near heads need.

        Args:
            pos: Positions (n, 3) [Å].
            batch: Graph of each atom (n,), ascending; None: one graph.
            num_graphs: Number of graphs; None: as `batch` says.
            cutoff: Largest cutoff [Å] of the layers; None: no pairs are searched.
            cell: Lattice vectors as rows (g, 3, 3) [Å], or None.
            pbc: Periodic directions (g, 3), or None.
            dtype: Type of the layers' numbers; None: torch's default.

        Raises:
            ValueError: `batch` is not ascending, or `cutoff` no positive number.
            InputError: As `check_places` and `neighbor_pairs`.
        """
        check_places(pos, batch, num_graphs, cell, pbc)
        if batch is None:
            batch = torch.zeros(len(pos), dtype=torch.int64, device=pos.device)
        if num_graphs is None:
            num_graphs = int(batch.max()) + 1 if len(batch) else 1
        dtype = dtype or torch.get_default_dtype()
        made = cls(pos, batch, num_graphs, cell, pbc, dtype)
        if cutoff is not None:
            places = pos.detach(), batch, num_graphs
            made.set_pairs(
                *neighbor_pairs(*places, cutoff, cell, pbc, made.layout), cutoff=cutoff
            )
        return made

    def set_pairs(
        self, first: Tensor, second: Tensor, shift: Tensor, cutoff: float | None = None
    ) -> None:
        """Hold the neighbour pairs (i, j, shift), each unordered pair once.

        Args:
            first: Atom i (p,).
            second: Atom j (p,).
            shift: Lattice vectors (p, 3) by which the image of j is moved.
            cutoff: Distance [Å] up to which all are held; None: not known.
        """
        cell = self.cell if self.is_periodic else None
        first, second = first.long(), second.long()
        index = PairIndex(first, second, None if cell is None else shift, self.batch)
        delta = displacements(self.centred, cell, index, self.dtype)
        self.pairs = Pairs(first, second, delta, cutoff=cutoff)
        self._pair_slot = None

    @property
    def found_pairs(self) -> Pairs:
        """The neighbour pairs of `set_pairs`.

        Raises:
            ValueError: There are none yet.
        """
        if self.pairs is None:
            raise ValueError(
                "near heads need the pairs of neighbours: Geometry.of(pos, batch, "
                "cutoff=...) has them"
            )
        return self.pairs

    def in_pass(self) -> "Geometry":
        """Return the same systems for one pass through layers.

        What the layers share, functions of distances and waves, is then computed once.
        It ends with the pass: the next one may have other parameters.
        """
        own = copy.copy(self)
        own.once = Once(keeps=True)
        own.pairs = None if self.pairs is None else self.pairs.in_pass()
        return own

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
        padded._pair_slot = None
        padded.once = Once(keeps=self.once.keeps)
        return padded

    def in_rows(self, count: int) -> "Geometry":
        """Return the same systems with more rows, behind those of their atoms.

        As `in_slots`, for layers that do no more than sum over pairs: these have none.

        Args:
            count: Number of rows, at least that of atoms.
        """
        padded = copy.copy(self)
        pad, more = torch.nn.functional.pad, count - len(self.batch)
        padded.batch = pad(self.batch, (0, more), value=self.num_graphs - 1)
        padded.centred = pad(self.centred, (0, 0, 0, more))
        padded.once = Once(keeps=self.once.keeps)
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
        if self._pair_slot is None:
            i, j = self.found_pairs.receiver, self.found_pairs.sender
            self._pair_slot = self.slot[i] * self.size + self.local[j]
        return self._pair_slot

    @property
    def all_pairs(self) -> AllPairs:
        """All pairs of atoms of each graph, images not counted."""

        def make() -> AllPairs:
            padded, mask = self.pad(self.centred), self.mask
            delta = (padded[:, :, None] - padded[:, None]).to(self.dtype)
            apart = ~torch.eye(self.size, dtype=torch.bool, device=mask.device)
            valid = mask[:, :, None] & mask[:, None, :] & apart
            return AllPairs(delta, valid, Once(keeps=self.once.keeps))

        return self.once.of("all pairs", make)

    def lattice(self, shells: RadialShells, tolerance: float) -> Lattice:
        """Return each graph's box and the frequencies that the shells need in it.

        Args:
            shells: Shells of the kernel.
            tolerance: Error of the kernel, `RadialShells.support`.
        """

        def make() -> Lattice:
            periodic = self.layout.is_periodic
            band, reach = shells.support(tolerance, periodic=periodic)
            box = boxes(*self.inside, self.cell, self.layout.directions, reach)
            return Lattice(self.centred, self.batch, box, band, self.ranks)

        return self.once.of(("lattice", shells, tolerance), make)

    def modes(self, shells: RadialShells, tolerance: float) -> Modes:
        """Return the waves of `lattice` at all atoms: atoms x modes of memory."""

        def make() -> Modes:
            lattice = self.lattice(shells, tolerance)
            steps, vectors, weights = lattice.half()
            # Fractional coordinates first: an atom far out keeps its digits.
            fraction = self.pad(lattice.fraction)
            phase = torch.einsum("gaj,gkj->gak", fraction, steps.double())
            return Modes(
                vectors.to(self.dtype),
                weights.to(self.dtype),
                wrapped(phase).to(self.dtype),
                self.mask.to(self.dtype),
            )

        return self.once.of(("modes", shells, tolerance), make)

    def refreshed(
        self, x: NodeScalars, vec: NodeVectors | None
    ) -> tuple[NodeScalars, NodeVectors | None]:
        """Return features that are up to date at all atoms, before a layer needs them.

        Args:
            x: Scalar features (n, c).
            vec: Vector features (n, 3, w), or None.
        """
        return x, vec

    @property
    def rows(self) -> list[slice]:
        """Rows of each graph's atoms, padding left out."""
        sizes = self.layout.sizes
        starts = [0, *accumulate(sizes)][:-1]
        if self.is_full:
            starts = [graph * self.size for graph in range(self.num_graphs)]
        return [slice(a, a + n) for a, n in zip(starts, sizes, strict=True)]
