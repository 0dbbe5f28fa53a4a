"""Pairs of atoms: those within a cutoff, and all of each graph."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from molflt.nn.spectrum import distance

BEYOND = 1e3  # Å; farther than any cutoff


class Distances:
    """Distances r, and functions of them that several layers share.

    Args:
        r: Distances [Å], of any shape.
    """

    def __init__(self, r: Float[Tensor, "*p"]) -> None:
        self.r = r
        self._cache: list[tuple[Callable[[Tensor], Tensor], Tensor]] = []

    def cached(self, function: Callable[[Tensor], Tensor]) -> Float[Tensor, "*k p"]:
        """Return function(r), computed once within one pass through the layers.

        Layers share their shells, so phi_t(r) is evaluated once for all of them.
        """
        for known, value in self._cache:
            if known == function:  # bound methods are equal, never identical
                return value
        value = function(self.r)
        self._cache.append((function, value))
        return value

    def forget(self) -> None:
        """Drop what was computed: parameters may have changed since."""
        self._cache.clear()


class AllPairs(Distances):
    """All pairs of slots of each padded graph, images not counted.

    Args:
        delta: Displacements r_i - r_j (g, a, a, 3) [Å].
        valid: True for pairs of two different atoms (g, a, a).
    """

    def __init__(
        self, delta: Float[Tensor, "g a a 3"], valid: Bool[Tensor, "g a a"]
    ) -> None:
        super().__init__(distance(delta).flatten())
        self.delta = delta
        self.valid = valid.to(delta.dtype)


class Pairs(Distances):
    """Pairs (i, j, shift) within a cutoff; each unordered pair is held once.

    Functions of D are evaluated on the held half; `receiver` and `sender` list both
    directions, those of -D second.

    Args:
        first: Atom i of each pair (p,).
        second: Atom j of each pair (p,).
        delta: Displacement D = r_i - r_j - shift @ cell (p, 3) [Å].
    """

    def __init__(
        self,
        first: Int[Tensor, " p"],
        second: Int[Tensor, " p"],
        delta: Float[Tensor, "p 3"],
    ) -> None:
        self.first, self.second = first, second
        self.receiver = torch.cat([first, second])  # (2p,)
        self.sender = torch.cat([second, first])  # (2p,)
        super().__init__(torch.linalg.vector_norm(delta, dim=1))
        self.delta = delta

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
        return Pairs(pad(first, (0, missing)), pad(second, (0, missing)), delta)
