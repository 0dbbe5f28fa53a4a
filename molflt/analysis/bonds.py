"""Which atoms to join by a line in a picture."""

import numpy as np
from ase.data import covalent_radii
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

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
    places = np.asarray(positions, dtype=np.float64)
    radii = TOLERANCE * covalent_radii[np.asarray(numbers)]
    near = cKDTree(places).query_pairs(2 * radii.max(), output_type="ndarray")
    first, second = near[np.lexsort(near.T[::-1])].T
    length = np.linalg.norm(places[first] - places[second], axis=1)
    bonded = length < radii[first] + radii[second]
    return first[bonded].astype(np.int64), second[bonded].astype(np.int64)
