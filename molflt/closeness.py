"""Atoms that are closer than atoms come: a structure that models know nothing of."""

import numpy as np
from ase.data import covalent_radii
from ase.geometry import complete_cell
from scipy.spatial import cKDTree

CLOSE = 0.55
"""Part of the sum of covalent radii below which no two atoms of a molecule are."""

FEW = 4096
"""Atoms of which all pairs fit in memory, which is faster."""


def has_close_atoms(
    numbers: np.ndarray, positions: np.ndarray, lattice: np.ndarray, pbc: np.ndarray
) -> bool:
    """Whether two atoms are closer than `CLOSE` of the sum of their covalent radii.

    Images of periodic structures count, also of an atom and itself.

    Args:
        numbers: Atomic numbers (n,).
        positions: Positions (n, 3) [Å].
        lattice: Lattice vectors as rows (3, 3) [Å].
        pbc: Periodic directions (3,).
    """
    radii = CLOSE * covalent_radii[numbers]
    if not len(radii):
        return False
    widest = 2 * float(radii.max())
    points, owner = with_rim(positions, lattice, pbc, widest)
    if len(points) <= FEW:
        pairs = cKDTree(points).query_pairs(widest, output_type="ndarray")
        gap = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)
        return bool((gap < radii[owner[pairs]].sum(axis=1)).any())
    # Of each atom the nearest ones: all pairs of a structure in nm would be too many.
    gap, near = cKDTree(points).query(points, k=4, distance_upper_bound=widest)
    reach = np.append(radii[owner], 0.0)  # the index after the last: no neighbour
    close = gap < reach[:-1, None] + reach[near]
    return bool(close[:, 1:].any())  # the first is the atom itself


def with_rim(
    positions: np.ndarray, lattice: np.ndarray, periodic: np.ndarray, width: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return atoms wrapped into the cell and images of those at its rim.

    Args:
        positions: Positions (n, 3) [Å].
        lattice: Lattice vectors as rows (3, 3) [Å], independent where periodic.
        periodic: Periodic directions (3,).
        width: Width of the rim [Å]; there are images of one side of the cell only.

    Returns:
        Points (m, 3) [Å], and the atom that each of them is (m,).
    """
    owner = np.arange(len(positions))
    if not periodic.any():
        return positions, owner
    full = complete_cell(np.where(periodic[:, None], lattice, 0.0))
    inverse = np.linalg.inv(full)
    fractional = positions @ inverse
    fractional[:, periodic] %= 1.0
    # The rim in fractional coordinates.
    depth = width * np.linalg.norm(inverse, axis=0)
    for axis in np.flatnonzero(periodic):
        rim = fractional[:, axis] < depth[axis]
        copies = fractional[rim] + np.eye(3)[axis]
        fractional = np.concatenate([fractional, copies])
        owner = np.concatenate([owner, owner[rim]])
    return fractional @ full, owner
