"""Planes through what the heads learned: f_h(dx, dy, dz) on a grid, as numpy arrays."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molflt.analysis.attention import attentions
from molflt.analysis.kernels import Group, head_kernels
from molflt.errors import UsageError
from molflt.model import FLTModel
from molflt.nn.additive import AdditiveAttention
from molflt.nn.spectra.spectrum import distance

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


@torch.no_grad()
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
        extent: Largest |component| [Å]; None: where the group's f has ended.
        num_points: Points along either direction.

    Raises:
        UsageError: There is no such plane.
    """
    if plane not in ("xy", "xz", "yz"):
        raise UsageError(f"plane must be 'xy', 'xz' or 'yz', received {plane!r}.")
    slices = []
    for group in head_kernels(model, num_points=2):
        reach = float(group.r[-1]) if extent is None else extent
        axis = np.linspace(-reach, reach, num_points)
        grid = _grid(plane, offset, axis)
        heads = attentions(model)[group.layer].heads
        if isinstance(heads, AdditiveAttention):
            spectrum = heads.rpe.spectrum
            f = spectrum.kernel(_like(grid, next(spectrum.parameters())))
        elif group.group == "near":
            assert heads.near is not None
            kernel = heads.near.kernel
            f = kernel.radial(distance(_like(grid, kernel.mixture.coefficients)))
        else:
            assert heads.far is not None
            mixture = heads.far.mixture
            # The mixture also holds the kernels of the vector messages, after these.
            f = mixture.kernel(_like(grid, mixture.coefficients))[: heads.far.num_heads]
        values = f.double().cpu().numpy().reshape(-1, num_points, num_points)
        slices.append(HeadSlices(group.layer, group.group, plane, offset, axis, values))
    return slices


def _grid(plane: Plane, offset: float, axis: NDArray[np.float64]) -> Tensor:
    points = np.full((len(axis), len(axis), 3), offset)
    columns, rows = ("xyz".index(letter) for letter in plane)
    points[..., columns] = axis
    points[..., rows] = axis[:, None]
    return torch.from_numpy(points.reshape(-1, 3))


def _like(grid: Tensor, parameter: Tensor) -> Tensor:
    return grid.to(parameter)
