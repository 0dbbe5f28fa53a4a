"""Atoms written twice: two atoms at one place."""

import numpy as np
from ase.data import chemical_symbols
from scipy.spatial import cKDTree

from molflt.closeness import with_rim
from molflt.errors import InputError

MIN_DISTANCE = 1e-3  # Å; closer atoms are one atom written twice
_LINE = np.array([0.4757, 0.5923, 0.6501])  # shorter than 1, along no symmetry axis
_AT_ONCE = 4096  # points searched at once; a pair among the first ends the search


def refuse_coincident(
    numbers: np.ndarray,
    positions: np.ndarray,
    lattice: np.ndarray,
    periodic: np.ndarray,
    prefix: str,
) -> None:
    """Refuse two atoms closer than `MIN_DISTANCE`, periodic images included.

    Atoms are wrapped into the cell and those at its rim copied to the other side; a k-d
    tree finds the pair.

    Args:
        numbers: Atomic numbers (n,).
        positions: Positions (n, 3) [Å].
        lattice: Lattice vectors as rows (3, 3) [Å], independent where periodic.
        periodic: Periodic directions (3,).
        prefix: File and record, for the error.

    Raises:
        InputError: Names both atoms; or positions too far away to be wrapped.
    """
    points, owner = with_rim(positions, lattice, periodic, MIN_DISTANCE)
    if not np.isfinite(points).all():  # the remainder of an overflow
        raise InputError(f"{prefix}the positions are too far from the cell.")
    # No two points are closer than their projections on a line, which is cheaper to see
    # than by a tree, and enough for most molecules.
    along = np.sort(points @ _LINE)
    if (along[1:] - along[:-1] >= MIN_DISTANCE).all():
        return
    tree = cKDTree(points)
    # Two nearest neighbours, one of them the point itself, as images of one atom are
    # further apart. All pairs would need memory quadratic in the atoms at one place.
    for start in range(0, len(points), _AT_ONCE):
        chunk = points[start : start + _AT_ONCE]
        _, nearest = tree.query(chunk, k=2, distance_upper_bound=MIN_DISTANCE)
        # Where there is no neighbour, the index is that after the last.
        other = np.append(owner, -1)[nearest]
        own = owner[start : start + _AT_ONCE, None]
        rows, columns = np.nonzero((other != own) & (other >= 0))
        if len(rows):
            one, two = own[rows[0], 0], other[rows[0], columns[0]]
            _raise(numbers, int(one), int(two), prefix)


def _raise(numbers: np.ndarray, one: int, two: int, prefix: str) -> None:
    i, j = sorted((one, two))
    names = [chemical_symbols[numbers[atom]] for atom in (i, j)]
    raise InputError(
        f"{prefix}atoms {i} ({names[0]}) and {j} ({names[1]}) are at one place "
        f"(closer than {MIN_DISTANCE} Å, periodic images included)."
    )
