"""What the grid of cells of a neighbour search can hold."""

import numpy as np

MOST_CELLS = 1e5
"""Cells of vesin's grid; a finer one is made coarser along all three directions.

Where a direction has one cell, it then has none, and the process ends by a signal
(vesin 0.6.2).
"""


def search_radius(
    points: np.ndarray, box: np.ndarray, directions: list[bool], cutoff: float
) -> float:
    """Return a distance to search to, `cutoff` unless the grid would be too fine.

    That is where a system is hundreds of cutoffs long in two directions, and thin in
    the third. Pairs between the two distances are to be left out afterwards.

    Args:
        points: Positions (n, 3) [Å].
        box: Lattice vectors as rows (3, 3) [Å]; along open directions any.
        directions: Periodic directions.
        cutoff: Distance wanted [Å].

    Raises:
        ValueError: A position or a lattice vector is not finite.
    """
    if not (np.isfinite(points).all() and np.isfinite(box).all()):
        raise ValueError("positions and lattice vectors must be finite")
    if not len(points):
        return cutoff
    periodic = np.asarray(directions)
    normals = np.eye(3) if not periodic.any() else np.linalg.inv(box).T
    lengths = np.linalg.norm(normals, axis=1)  # of periodic ones: 1 / height
    extent = np.ptp(points @ (normals / lengths[:, None]).T, axis=0)
    radius = cutoff
    while True:  # which ends: what is finite is a few cells of some size
        least = np.where(periodic, 1 / lengths, 0.0 if periodic.any() else extent)
        most = np.where(periodic, 1 / lengths, extent + 3 * radius)
        few, many = (np.maximum(1, side / radius) for side in (least, most))
        coarser = min(1.0, (MOST_CELLS / many.prod()) ** (1 / 3))
        if many.prod() < 0.9 * MOST_CELLS or few.min() * coarser > 1.1:
            return radius
        radius *= 1.1
