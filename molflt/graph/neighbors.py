"""Pairs of atoms within a cutoff, periodic images included."""

import math
from typing import NamedTuple

import numpy as np
import torch
from ase.geometry import complete_cell
from torch import Tensor
from vesin import NeighborList

from molflt.errors import InputError
from molflt.graph.cell_grid import search_radius
from molflt.graph.host import Layout, extent_of, layout_of, segment_count

# Below this many atoms a graph's distance matrix is cheaper than a cell list.
DENSE_LIMIT = 128


class NeighborPairs(NamedTuple):
    """Each unordered pair once: atom `first`, and the image of `second` at `shift`.

    The displacement is D = r_first - (r_second + shift @ cell), |D| < cutoff. The pair
    read backwards, (second, first, -shift), is not stored. An atom and its own image
    are a pair; an atom and itself are not.
    """

    first: Tensor  # (p,) int64
    second: Tensor  # (p,) int64
    shift: Tensor  # (p, 3) int32, in lattice vectors

    def renumbered(self, number: Tensor) -> "NeighborPairs":
        """Return the same pairs, atom i being called number[i] (n,)."""
        first, second = (number.index_select(0, atoms) for atoms in self[:2])
        return NeighborPairs(first, second, self.shift)


def neighbor_pairs(
    pos: Tensor,
    batch: Tensor,
    num_graphs: int,
    cutoff: float,
    cell: Tensor | None = None,
    pbc: Tensor | None = None,
    layout: Layout | None = None,
) -> NeighborPairs:
    """Find all pairs closer than `cutoff`, each graph for itself.

    Args:
        pos: Positions (n, 3) [Å]; may be wrapped or not.
        batch: Graph of each atom (n,), ascending.
        num_graphs: Number of graphs.
        cutoff: Distance [Å], larger than zero.
        cell: Lattice vectors as rows (g, 3, 3) [Å]; None: no graph is periodic.
        pbc: Periodic directions (g, 3); None: no graph is periodic.
        layout: What the host knows of the graphs, if it is at hand.

    Raises:
        ValueError: `cutoff` is no positive number, or pbc is given without a cell.
        InputError: A position is not finite, or too far from the others, `FARTHEST`; or
            a box is one that a cell list does not fit in, `usable_box`.
    """
    if not 0 < cutoff < math.inf:  # nor is NaN
        raise ValueError(f"cutoff must be larger than 0, and finite, received {cutoff}")
    if pbc is not None and cell is None:
        raise ValueError("pbc is given without a cell")
    if layout is None:
        extent = extent_of(pos, batch, num_graphs)
        layout = layout_of(batch, num_graphs, pbc, extent)
    if not layout.is_periodic and max(layout.sizes, default=0) <= DENSE_LIMIT:
        return _open_pairs(pos, batch, layout.sizes, cutoff)
    return _listed_pairs(pos, cutoff, cell, layout)


def usable_box(box: np.ndarray, directions: list[bool], cutoff: float) -> np.ndarray:
    """Return a box whose vectors along open directions are there and not huge.

    Raises:
        InputError: A periodic lattice vector is zero, not finite, or hundreds of
            cutoffs long, for which a cell list would not fit in memory.
    """
    lengths = np.linalg.norm(box, axis=1)
    good = np.isfinite(lengths) & (lengths > 0) & (lengths < 500 * cutoff)
    bad = np.asarray(directions) & ~good
    if bad.any():
        raise InputError(
            f"A periodic lattice vector is {lengths[bad][0]:g} Å long; it must be "
            f"between 0 and {500 * cutoff:g} Å."
        )
    # Any vector will do along an open direction; a huge one would only cost memory.
    return np.asarray(complete_cell(np.where(good[:, None], box, 0.0)))


def _refuse_far_out(
    points: np.ndarray, box: np.ndarray, directions: list[bool], cutoff: float
) -> None:
    """Refuse atoms far out along an open direction, to which a cell list would reach.

    Raises:
        InputError: They are hundreds of cutoffs apart.
    """
    if all(directions) or not len(points):
        return
    # Across the periodic directions alone: along them, atoms need not be wrapped.
    along, _ = np.linalg.qr(box[np.asarray(directions)].T)
    across = points - points @ along @ along.T
    extent = np.linalg.norm(np.ptp(across, axis=0))
    if extent > 500 * cutoff:
        raise InputError(
            f"Atoms of a periodic system are {extent:g} Å apart along an open "
            f"direction; {500 * cutoff:g} Å is the most."
        )


def _open_pairs(
    pos: Tensor, batch: Tensor, sizes: list[int], cutoff: float
) -> NeighborPairs:
    """Compare all positions of a graph at once; all graphs padded to the largest."""
    counts = segment_count(batch, len(sizes))
    starts = counts.cumsum(0) - counts
    local = torch.arange(len(pos), device=pos.device) - starts[batch]
    with torch.no_grad():
        padded = pos.new_full((len(sizes), max(sizes, default=0), 3), torch.nan)
        padded[batch, local] = pos
        delta = padded[:, :, None] - padded[:, None]
        close = delta.square().sum(-1) < cutoff**2  # a padded row is NaN: never close
        graph, i, j = close.triu(diagonal=1).nonzero(as_tuple=True)
    shift = torch.zeros((len(i), 3), dtype=torch.int32, device=pos.device)
    return NeighborPairs(starts[graph] + i, starts[graph] + j, shift)


def _listed_pairs(
    pos: Tensor, cutoff: float, cell: Tensor | None, layout: Layout
) -> NeighborPairs:
    """Cell lists by vesin, a graph at a time, on the CPU."""
    places = pos.detach().double().flatten()
    if cell is not None:  # moved together: a GPU is waited for once
        places = torch.cat([places, cell.detach().double().flatten()])
    places = places.cpu()
    points = places[: pos.numel()].view(-1, 3).numpy()
    boxes = places[pos.numel() :].view(-1, 3, 3).numpy()
    first, second, shift = [], [], []
    start = 0
    for index, count in enumerate(layout.sizes):
        part = points[start : start + count]
        box: np.ndarray = np.zeros((3, 3))
        directions = layout.directions[index]
        if any(directions):
            box = usable_box(boxes[index], directions, cutoff)
            _refuse_far_out(part, box, directions, cutoff)
        radius = search_radius(part, box, directions, cutoff)
        finder = NeighborList(cutoff=radius, full_list=False)
        # Views of vesin's memory, copied once: lists of large systems are gigabytes.
        found, moved = finder.compute(
            part, box, directions, quantities="PS", copy=False
        )
        if radius > cutoff:
            apart = part[found[:, 1]] - part[found[:, 0]] + moved @ box
            close = np.linalg.norm(apart, axis=1) < cutoff
            found, moved = found[close], moved[close]
        # vesin: D = r_j - r_i + S @ box, so the image of j is at r_j + S @ box.
        first.append(found[:, 0].astype(np.int64) + start)
        second.append(found[:, 1].astype(np.int64) + start)
        shift.append(moved.astype(np.int32))
        start += count
    return NeighborPairs(
        *(
            torch.from_numpy(_joined(parts)).to(pos.device, non_blocking=True)
            for parts in (first, second, shift)
        )
    )


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """Concatenate, without a copy where there is only one part."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
