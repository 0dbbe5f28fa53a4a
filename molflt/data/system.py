"""Arrays of one structure, checked: species, places, lattice, tags.

Nothing but these arrays reaches a model; they are made here from whatever a file or a
user gives.
"""

import numpy as np
from numpy.typing import ArrayLike

from molflt.data.coincidence import MIN_DISTANCE, refuse_coincident
from molflt.elements import MAX_Z
from molflt.errors import InputError


def system_arrays(
    z: ArrayLike,
    pos: ArrayLike,
    *,
    cell: ArrayLike | None = None,
    pbc: ArrayLike | None = None,
    tags: ArrayLike | None = None,
    fixed: ArrayLike | None = None,
    prefix: str = "",
) -> dict[str, np.ndarray]:
    """Check one structure; return its arrays by name, all of them copies.

    Args:
        z: Atomic numbers (n,).
        pos: Positions (n, 3) [Å].
        cell: Lattice vectors as rows (3, 3) or (1, 3, 3) [Å]; None: no lattice.
        pbc: Periodic directions, one bool or three; None: not periodic.
        tags: OC20 tags (n,) out of {-1, 0, 1, 2}; None: all -1.
        fixed: Atoms held during relaxation (n,); None: none.
        prefix: Words that start every error.

    Returns:
        ``z`` (n,) int64, ``pos`` (n, 3) float64, ``cell`` (1, 3, 3) float64, ``pbc``
        (1, 3) bool, ``tags`` (n,) int64 and ``fixed`` (n,) bool.

    Raises:
        InputError: Wrong shapes, unknown species, a value that is not finite, two atoms
            at one place (periodic images included), or pbc without a lattice vector.
    """
    numbers = _species(z, prefix)
    n = len(numbers)
    positions = floats(pos, (n, 3), "positions", prefix)
    lattice = np.zeros((3, 3)) if cell is None else np.asarray(cell)
    if lattice.shape == (1, 3, 3):
        lattice = lattice[0]
    lattice = floats(lattice, (3, 3), "cell", prefix)
    periodic = _periodic(pbc, lattice, prefix)
    refuse_coincident(numbers, positions, lattice, periodic, prefix)
    return {
        "z": numbers,
        "pos": positions,
        "cell": lattice[None],
        "pbc": periodic[None],
        "tags": _tags(tags, n, prefix),
        "fixed": _fixed(fixed, n, prefix),
    }


def _species(z: ArrayLike, prefix: str) -> np.ndarray:
    numbers = np.asarray(z)
    if numbers.ndim != 1 or len(numbers) == 0:
        raise InputError(
            f"{prefix}atomic numbers must be a list of at least one atom, "
            f"received shape {numbers.shape}."
        )
    if numbers.dtype.kind not in "iuf":
        raise InputError(f"{prefix}atomic numbers must be numbers.")
    if numbers.dtype.kind == "i" and numbers.min() >= 1 and numbers.max() <= MAX_Z:
        return numbers.astype(np.int64)
    with np.errstate(invalid="ignore"):  # NaN becomes some integer, and differs
        whole = numbers.astype(np.int64)
    bad = (whole != numbers) | (whole < 1) | (whole > MAX_Z)
    if bad.any():
        atom = int(np.argmax(bad))
        symbol = " (ASE's placeholder X)" if numbers[atom] == 0 else ""
        raise InputError(
            f"{prefix}atom {atom} has the unknown species {numbers[atom]}{symbol}; "
            f"atomic numbers are 1 to {MAX_Z}."
        )
    return whole


def floats(
    values: ArrayLike, shape: tuple[int, ...], name: str, prefix: str
) -> np.ndarray:
    """Return a float64 copy of `values`, which must have this shape and be finite.

    Raises:
        InputError: It is not so; the sentence starts with `prefix` and `name`.
    """
    try:
        array = np.array(values, dtype=np.float64)  # a copy: graphs own their memory
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{prefix}{name} must be numbers ({error}).") from error
    if array.shape != shape:
        raise InputError(
            f"{prefix}{name} must have shape {shape}, received {array.shape}."
        )
    finite = np.isfinite(array)
    if not finite.all():
        row = int(np.argmin(finite.reshape(len(array), -1).all(axis=1)))
        place = f" of atom {row}" if len(shape) == 2 and name != "cell" else ""
        bad = array[~finite].flat[0]
        raise InputError(f"{prefix}{name}{place} is {bad}; it must be finite.")
    return array


def _periodic(pbc: ArrayLike | None, lattice: np.ndarray, prefix: str) -> np.ndarray:
    flags = np.asarray(False if pbc is None else pbc).astype(bool).reshape(-1)
    if len(flags) not in (1, 3):
        raise InputError(f"{prefix}pbc must be one or three flags, got {len(flags)}.")
    periodic = np.array(np.broadcast_to(flags, 3))
    vectors = lattice[periodic]
    if len(vectors):
        # Singular values: also finds vectors that are parallel or in one plane.
        smallest = np.linalg.svd(vectors, compute_uv=False).min()
        if smallest < MIN_DISTANCE:
            raise InputError(
                f"{prefix}pbc {periodic.tolist()} needs independent lattice vectors "
                f"that are not zero, the cell is {lattice.tolist()}."
            )
    return periodic


def _tags(tags: ArrayLike | None, n: int, prefix: str) -> np.ndarray:
    if tags is None:
        return np.full(n, -1, dtype=np.int64)
    array = np.asarray(tags)
    if array.shape != (n,) or array.dtype.kind not in "iuf":
        raise InputError(
            f"{prefix}tags must be numbers of shape ({n},), got {array.shape}."
        )
    with np.errstate(invalid="ignore"):
        whole = array.astype(np.int64)
    bad = (whole != array) | (whole < -1) | (whole > 2)
    if bad.any():
        raise InputError(
            f"{prefix}tag {array[bad][0]} is outside OC20's convention "
            "(0 sub-surface, 1 surface, 2 adsorbate, -1 none)."
        )
    return whole


def _fixed(fixed: ArrayLike | None, n: int, prefix: str) -> np.ndarray:
    if fixed is None:
        return np.zeros(n, dtype=bool)
    array = np.asarray(fixed)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{prefix}fixed must be flags, not {array.dtype}.")
    array = array.astype(bool)
    if array.shape != (n,):
        raise InputError(f"{prefix}fixed must have shape ({n},), got {array.shape}.")
    return array
