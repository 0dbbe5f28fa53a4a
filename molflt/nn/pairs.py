"""Pairs of atoms: those within a cutoff, and all of each graph."""

import copy
from collections.abc import Callable
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from molflt.nn.cutoff import Cutoff
from molflt.nn.edges.rows import Edges, Rows, sorted_rows
from molflt.nn.edges.table import shell_table
from molflt.nn.once import Once
from molflt.nn.spectra.shells import RadialShells
from molflt.nn.spectra.spectrum import distance

BEYOND = 1e3  # Å; farther than any cutoff

_Radial = tuple[RadialShells, type[Cutoff], float]
"""What determines c(r) phi_t(r)."""


class Distances:
    """Distances r, and functions of them that several layers share.

    Args:
        once: What keeps these functions; None: nothing does.
    """

    def __init__(self, once: Once | None = None) -> None:
        self.once = once or Once()

    @property
    def r(self) -> Float[Tensor, " p"]:
        """Distances [Å]; large systems never ask for all of them."""
        return self.once.of("r", self._lengths)

    def _lengths(self) -> Tensor:
        raise NotImplementedError

    def cached(self, function: Callable[[Tensor], Tensor]) -> Float[Tensor, "*k p"]:
        """Return function(r), computed once within one pass through the layers.

        Layers share their shells, so phi_t(r) is evaluated once for all of them.
        """
        return self.once.of(function, lambda: function(self.r))


class AllPairs(Distances):
    """All pairs of slots of each padded graph, images not counted.

    Args:
        delta: Displacements r_i - r_j (g, a, a, 3) [Å].
        valid: True for pairs of two different atoms (g, a, a).
        once: What keeps functions of the distances; None: nothing does.
    """

    def __init__(
        self,
        delta: Float[Tensor, "g a a 3"],
        valid: Bool[Tensor, "g a a"],
        once: Once | None = None,
    ) -> None:
        super().__init__(once)
        self.delta = delta
        self.valid = valid.to(delta.dtype)

    def _lengths(self) -> Tensor:
        return distance(self.delta).flatten()


class Pairs(Distances):
    """Pairs (i, j, shift) within a cutoff; each unordered pair is held once.

    Functions of D are evaluated on the held half; `receiver` and `sender` list both
    directions, those of -D second; `rows` lists them sorted by receiver.

    Args:
        first: Atom i of each pair (p,).
        second: Atom j of each pair (p,).
        delta: Displacement D = r_i - r_j - shift @ cell (p, 3) [Å].
        num_real: Number of pairs, those apart that only fill up; None: all.
        once: What keeps functions of the distances; None: nothing does.
        cutoff: Distance [Å] up to which these are all pairs; None: not known.
    """

    def __init__(
        self,
        first: Int[Tensor, " p"],
        second: Int[Tensor, " p"],
        delta: Float[Tensor, "p 3"],
        num_real: int | None = None,
        once: Once | None = None,
        cutoff: float | None = None,
    ) -> None:
        super().__init__(once)
        self.first, self.second = first, second
        self.delta, self.cutoff = delta, cutoff
        self.num_real = len(first) if num_real is None else num_real
        self._rows: Rows | None = None

    def _lengths(self) -> Tensor:
        return torch.linalg.vector_norm(self.delta, dim=1)

    @cached_property
    def receiver(self) -> Int[Tensor, " e"]:
        """Atom at which each directed edge ends (2p,)."""
        return torch.cat([self.first, self.second])

    @cached_property
    def sender(self) -> Int[Tensor, " e"]:
        """Atom at which each directed edge begins (2p,)."""
        return torch.cat([self.second, self.first])

    def rows(self, num_atoms: int) -> Rows:
        """Return the directed edges sorted by receiver."""
        if self._rows is None or len(self._rows.start) != num_atoms + 1:
            self._rows = sorted_rows(self.first, self.second, num_atoms)
        return self._rows

    def windowed(self, shells: RadialShells, cutoff: Cutoff) -> Float[Tensor, "t p"]:
        """Return c(r) phi_t(r), computed once within one pass through the layers.

        Raises:
            ValueError: Pairs within the cutoff are missing.
        """
        self._reach(cutoff)
        return self.once.of(
            ("windowed", *_radial(shells, cutoff)),
            lambda: self.cached(shells) * cutoff(self.r),
        )

    def falloff(self, order: int) -> Float[Tensor, "l p"]:
        """Return 1 / sqrt(r^2 + 1)^l of l = 0 to `order`, computed once."""

        def powers() -> Tensor:
            scale = (self.r.square() + 1).rsqrt()
            return torch.stack([scale**power for power in range(order + 1)])

        return self.once.of(("falloff", order), powers)

    def edges(
        self,
        num_atoms: int,
        shells: RadialShells,
        cutoff: Cutoff,
        weights: Float[Tensor, "k t"],
    ) -> Edges:
        """Return rows of edges with the radial functions sum_t weights_kt c(r) phi_t.

        Args:
            num_atoms: Number of atoms.
            shells: phi_t.
            cutoff: c.
            weights: Weights of the shells in each function.

        Raises:
            ValueError: Pairs within the cutoff are missing.
        """
        self._reach(cutoff)
        of_shells = self.once.of(
            ("table", *_radial(shells, cutoff)),
            lambda: shell_table(shells, cutoff, self.delta.dtype),
        )
        table = (of_shells @ weights.double().T).to(self.delta.dtype)
        delta = self.delta.contiguous()
        return Edges(self.rows(num_atoms), delta, table.contiguous(), cutoff.cutoff)

    def _reach(self, cutoff: Cutoff) -> None:
        if self.cutoff is not None and self.cutoff < cutoff.cutoff:
            raise ValueError(
                f"the geometry has pairs up to {self.cutoff:g} Å alone, and a layer "
                f"needs them up to its cutoff of {cutoff.cutoff:g} Å"
            )

    def in_pass(self) -> "Pairs":
        """Return the same pairs, which keep functions of distances."""
        kept = copy.copy(self)
        kept.once = Once(keeps=True)
        return kept

    def in_slots(self, slot: Int[Tensor, " n"], multiple: int) -> "Pairs":
        """Return the same pairs of other numbers, filled up to a multiple.

        The pairs that fill up are of the first slot with itself, far beyond every
        cutoff, so that compactly supported kernels are exactly zero on them.

        Args:
            slot: New number of each atom (n,).
            multiple: The number of pairs becomes a multiple of this.
        """
        missing = -len(self.first) % multiple
        pad = torch.nn.functional.pad
        delta = pad(self.delta, (0, 0, 0, missing), value=BEYOND)
        first, second = slot[self.first], slot[self.second]
        return Pairs(
            pad(first, (0, missing)),
            pad(second, (0, missing)),
            delta,
            len(self.first),
            Once(keeps=self.once.keeps),
            self.cutoff,
        )


def _radial(shells: RadialShells, cutoff: Cutoff) -> _Radial:
    return shells, type(cutoff), cutoff.cutoff
