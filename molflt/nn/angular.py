"""Directions of pairs as functions that turn with the system, smooth at D = 0."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

COMPONENTS = (1, 3, 5, 7)  # of order 0 to 3
PARITY = (1.0, -1.0, 1.0, -1.0)  # factor of each order under D -> -D

# Orthonormal basis of symmetric traceless matrices: row c of BASIS is the matrix B_c,
# in the order xy, yz, xz, xx - yy, 2 zz - xx - yy.
_A, _B = 1 / math.sqrt(2), 1 / math.sqrt(6)
BASIS = (
    ((0, _A, 0), (_A, 0, 0), (0, 0, 0)),
    ((0, 0, 0), (0, 0, _A), (0, _A, 0)),
    ((0, 0, _A), (0, 0, 0), (_A, 0, 0)),
    ((_A, 0, 0), (0, -_A, 0), (0, 0, 0)),
    ((-_B, 0, 0), (0, -_B, 0), (0, 0, 2 * _B)),
)


def directions(
    delta: Float[Tensor, "p 3"], r: Float[Tensor, " p"], order: int
) -> list[Float[Tensor, "_ p"]]:
    r"""Return the direction of each pair as tensors of order 0 to `order`.

    With e = D / sqrt(r^2 + 1 Å^2)::

        Y_0 = 1,   Y_1 = e,   Y_2 = e e^T - |e|^2 / 3,
        Y_3 = e e e - |e|^2 (e 1 + its two permutations) / 5

    Y_2 and Y_3 are symmetric and traceless; their five and seven numbers are
    coordinates in an orthonormal basis (real solid harmonics), so that sums of products
    of coordinates are contractions, which do not change when the system is turned or
    mirrored. The root in place of r makes all of them smooth at D = 0, where Y_1 to
    Y_3 vanish.

    Args:
        delta: Displacements D [Å].
        r: Their lengths [Å].
        order: 0 to 3.
    """
    found = [torch.ones_like(r).unsqueeze(0)]
    if order >= 1:
        unit = (delta * (r.square() + 1).rsqrt().unsqueeze(1)).T
        found.append(unit)
    if order >= 2:
        x, y, z = unit
        xx, yy, zz = unit.square()
        mixed = [math.sqrt(2) * product for product in (x * y, y * z, x * z)]
        found.append(torch.stack([*mixed, _A * (xx - yy), _B * (2 * zz - xx - yy)]))
    if order >= 3:
        lobes = 4 * zz - xx - yy
        cubic = [
            0.5 * y * (3 * xx - yy),
            math.sqrt(6) * x * y * z,
            math.sqrt(0.15) * y * lobes,
            math.sqrt(0.1) * z * (2 * zz - 3 * xx - 3 * yy),
            math.sqrt(0.15) * x * lobes,
            math.sqrt(1.5) * z * (xx - yy),
            0.5 * x * (xx - 3 * yy),
        ]
        found.append(torch.stack(cubic))
    return found


def matrices(coordinates: Float[Tensor, "n 5 w"]) -> Float[Tensor, "n 3 3 w"]:
    """Return symmetric traceless matrices from their coordinates in the basis."""
    basis = torch.tensor(BASIS, dtype=coordinates.dtype, device=coordinates.device)
    return torch.einsum("nbw,bxy->nxyw", coordinates, basis)
