"""Planes through what the heads learned: f_h(dx, dy, dz) on a grid, as numpy arrays."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from molflt.analysis.head_groups import Group, head_groups
from molflt.errors import UsageError
from molflt.model import FLTModel

Plane = Literal["xy", "xz", "yz"]


@dataclass(frozen=True)
class HeadSlices:
    """f_h on a plane of displacements D = r_i - r_j, of a group of heads of one layer.

    Attributes:
        layer: Index of the layer.
        group: "near" (cutoff included) or "far".
        plane: The two directions that vary.
        offset: Component of D along the third direction [Å].
        axis: Components of D along either direction (p,) [Å].
        f: f_h(D) (h, p, p), dimensionless; the plane's second direction comes first,
            as in an image.
    """

    layer: int
    group: Group
    plane: Plane
    offset: float
    axis: NDArray[np.float64]
    f: NDArray[np.float64]


def head_slices(
    model: FLTModel,
    plane: Plane = "xy",
    offset: float = 0.0,
    extent: float | None = None,
    num_points: int = 101,
) -> list[HeadSlices]:
    """Return f_h(D) of every layer on a plane, near heads before far heads.

    Radial spectra give circles. Free, box and triangle spectra of the `additive` form
    depend on direction: that is what these pictures show and `head_kernels` averages
    out.

    Args:
        model: The model.
        plane: The two directions that vary.
        offset: Component of D along the third direction [Å].
        extent: Largest |component| [Å]; None: where the group's f has ended, or as far
            as `num_points` resolve its highest frequencies, where that is less.
        num_points: Points along either direction.

    Raises:
        UsageError: There is no such plane.
    """
    if plane not in ("xy", "xz", "yz"):
        raise UsageError(f"plane must be 'xy', 'xz' or 'yz', received {plane!r}.")
    slices = []
    for heads in head_groups(model):
        # Two points to the shortest wave: with fewer, the picture would show others.
        resolved = (num_points - 1) / (4 * heads.band)
        reach = min(heads.extent, resolved) if extent is None else extent
        axis = np.linspace(-reach, reach, num_points)
        f = heads.kernel(_grid(plane, offset, axis))
        f = f.reshape(-1, num_points, num_points)
        slices.append(HeadSlices(heads.layer, heads.group, plane, offset, axis, f))
    return slices


def _grid(
    plane: Plane, offset: float, axis: NDArray[np.float64]
) -> NDArray[np.float64]:
    points = np.full((len(axis), len(axis), 3), offset)
    columns, rows = ("xyz".index(letter) for letter in plane)
    points[..., columns] = axis
    points[..., rows] = axis[:, None]
    return points.reshape(-1, 3)
