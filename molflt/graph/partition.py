"""One system cut into compact parts, and the neighbours of a part."""

import numpy as np
import torch
from torch import Tensor

from molflt.graph.neighbors import NeighborPairs, neighbor_pairs, usable_box

SLACK = 1e-6  # Å; more than positions lose to rounding


class WrappedSystem:
    """Atoms of one system along the axes of its box, periodic directions wrapped.

    Args:
        pos: Positions (n, 3) [Å].
        cell: Lattice vectors as rows (1, 3, 3) [Å], or None.
        pbc: Periodic directions (1, 3), or None.
        cutoff: Distance [Å] within which atoms are neighbours.

    Raises:
        InputError: A periodic lattice vector cannot be used.
    """

    def __init__(
        self, pos: Tensor, cell: Tensor | None, pbc: Tensor | None, cutoff: float
    ) -> None:
        self._pos, self._cell, self._pbc = pos.detach(), cell, pbc
        self._cutoff = cutoff
        box: np.ndarray = np.eye(3)
        periodic = [False] * 3
        if cell is not None and pbc is not None and bool(pbc.any()):
            periodic = pbc[0].tolist()
            lattice = cell[0].detach().cpu().numpy().astype(np.float64)
            lattice = np.where(np.asarray(periodic)[:, None], lattice, 0.0)
            box = usable_box(lattice, periodic, cutoff)
        inverse = np.linalg.inv(box)
        # Distances between the planes of the box: |D| is at least this times the
        # difference of the fractions, along every axis.
        height = 1 / np.linalg.norm(inverse, axis=0)
        fraction = pos.detach().double() @ torch.from_numpy(inverse).to(pos.device)
        wrap = torch.tensor(periodic, device=pos.device)
        fraction = torch.where(wrap, fraction - fraction.floor(), fraction)
        self.places = fraction * torch.from_numpy(height).to(pos.device)  # (n, 3) [Å]
        self._periods = [
            h if p else np.inf for h, p in zip(height, periodic, strict=True)
        ]

    def bisected(self, parts: int) -> Tensor:
        """Return the part of each atom (n,), parts being equal to one atom.

        The atoms are halved across their longest extent, and each half again.

        Args:
            parts: Number of parts; more than atoms leave some empty.

        Source: M. J. Berger, S. H. Bokhari, IEEE Trans. Comput. C-36, 570 (1987).
        """
        owner = torch.zeros(len(self.places), dtype=torch.int64)
        places = self.places.cpu()
        todo = [(torch.arange(len(owner)), 0, parts)]
        while todo:
            atoms, first, count = todo.pop()
            owner[atoms] = first
            if count == 1 or not len(atoms):
                continue
            mine = places[atoms]
            axis = int((mine.amax(0) - mine.amin(0)).argmax())
            atoms = atoms[mine[:, axis].argsort(stable=True)]
            lower = count // 2
            cut = round(len(atoms) * lower / count)
            todo.append((atoms[:cut], first, lower))
            todo.append((atoms[cut:], first + lower, count - lower))
        return owner.to(self.places.device)

    def pairs_of(self, mine: Tensor) -> NeighborPairs:
        """Return the pairs that have an atom of a part, as `neighbor_pairs` does.

        Args:
            mine: True for atoms of the part (n,).
        """
        near = self._near(mine).nonzero().squeeze(1)
        if not len(near):
            return NeighborPairs(near, near, near.new_zeros(0, 3, dtype=torch.int32))
        found = neighbor_pairs(
            self._pos[near],
            torch.zeros_like(near),
            1,
            self._cutoff,
            None if self._cell is None else self._cell.detach(),
            self._pbc,
        )
        first, second = near[found.first], near[found.second]
        kept = mine[first] | mine[second]
        return NeighborPairs(first[kept], second[kept], found.shift[kept])

    def _near(self, mine: Tensor) -> Tensor:
        """Return True for atoms that have an image near the box around a part (n,)."""
        near = torch.ones_like(mine)
        if not bool(mine.any()):
            return ~near
        margin = self._cutoff + SLACK
        for axis, period in enumerate(self._periods):
            place = self.places[:, axis]
            start, end = place[mine].min(), place[mine].max()
            above = place - (start - margin)
            if np.isfinite(period):
                above = above.remainder(period)
            near &= (above >= 0) & (above <= end - start + 2 * margin)
        return near
