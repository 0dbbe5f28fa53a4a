"""Which atoms to join by a line in a picture."""

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from numpy.typing import ArrayLike, NDArray

TOLERANCE = 1.2  # of the sum of covalent radii


def bonds(
    numbers: ArrayLike, positions: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return pairs i < j closer than 1.2 times the sum of their covalent radii.

    For pictures only: no model knows of bonds. Bonds to periodic images are left out,
    as a line through the whole cell would stand for them.

    Args:
        numbers: Atomic numbers (n,).
        positions: Positions (n, 3) [Å].
    """
    atoms = Atoms(numbers=np.asarray(numbers), positions=np.asarray(positions))
    radii = TOLERANCE * covalent_radii[atoms.numbers]
    first, second = neighbor_list("ij", atoms, radii)
    once = first < second
    return first[once].astype(np.int64), second[once].astype(np.int64)
