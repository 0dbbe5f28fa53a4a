"""Which periodic image of an atom is nearest, in cells of any shape."""

import numpy as np
from ase.cell import Cell
from ase.geometry import find_mic, minkowski_reduce
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def reduced_cell(cell: ArrayLike, periodic: ArrayLike) -> Array:
    """Return lattice vectors as rows (3, 3) [Å] that are as short as can be.

    They have the same images. Vectors of open directions are unit vectors across the
    periodic ones: what is along them plays no part in which image is nearest, however
    the cell's own lean.

    Args:
        cell: Lattice vectors as rows (3, 3) [Å].
        periodic: Periodic directions (3,).

    Source: Minkowski reduction (Nguyen and Stehlé, 2009), by ASE.
    """
    along = np.broadcast_to(np.asarray(periodic, dtype=bool), 3)
    rows = np.where(along[:, None], np.asarray(cell, dtype=np.float64), 0.0)
    return np.asarray(minkowski_reduce(Cell(rows).complete(), along)[0])


def nearest(apart: ArrayLike, cell: ArrayLike, periodic: ArrayLike) -> Array:
    """Return the shortest of each vector and its periodic images (n, 3) [Å].

    Args:
        apart: Vectors between atoms (n, 3) [Å].
        cell: Lattice vectors as rows (3, 3) [Å].
        periodic: Periodic directions (3,).
    """
    along = np.broadcast_to(np.asarray(periodic, dtype=bool), 3)
    return np.asarray(find_mic(apart, reduced_cell(cell, along), along)[0])
