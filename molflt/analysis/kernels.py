"""What the heads learned: f_h(r) and its spectral density g_h(q), as numpy arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from molflt.analysis.head_groups import Group, head_groups
from molflt.analysis.radial_transform import sizes
from molflt.model import FLTModel


@dataclass(frozen=True)
class HeadKernels:
    """The encodings f_h(r) of the near or of the far heads of one layer.

    Attributes:
        layer: Index of the layer.
        group: "near" (f is zero beyond the cutoff) or "far".
        r: Distances (p,) [Å].
        f: f_h(r) of each head (h, p), dimensionless.
    """

    layer: int
    group: Group
    r: NDArray[np.float64]
    f: NDArray[np.float64]


@dataclass(frozen=True)
class HeadDensities:
    """The spectral densities g_h(q) of the near or of the far heads of one layer.

    Attributes:
        layer: Index of the layer.
        group: "near" or "far".
        q: Frequencies |xi| (p,) [cycles/Å].
        g: g_h(q) of each head (h, p) [Å^3]; f_h(0) = integral of 4 pi q^2 g_h(q) dq.
        error: Bound of |error of g_h(q)| [Å^3], as far as quadrature causes it: the
            largest change when the nodes are doubled; 0 for closed forms.
    """

    layer: int
    group: Group
    q: NDArray[np.float64]
    g: NDArray[np.float64]
    error: float = 0.0


def head_kernels(
    model: FLTModel, r: ArrayLike | None = None, num_points: int = 400
) -> list[HeadKernels]:
    """Return f_h(r) of every layer, near heads before far heads.

    Near heads include their cutoff; far heads are the closed form. A periodic system
    sums f over the images of each atom; this is f itself. The free, box and triangle
    spectra of the `additive` form depend on direction: theirs are means over
    directions; of the box, by quadrature, to a per cent or so.

    Args:
        model: The model.
        r: Distances [Å]; None: from 0 to the cutoff (near) or to where the widest of
            the far heads' components has ended or decayed to 4e-6.
        num_points: Number of distances where `r` is None.

    Raises:
        UsageError: `r` is no list of finite numbers that are not negative.
    """
    out = []
    for heads in head_groups(model):
        points = _points("r", r, heads.extent, num_points)
        out.append(HeadKernels(heads.layer, heads.group, points, heads.radial(points)))
    return out


def head_densities(
    model: FLTModel, q: ArrayLike | None = None, num_points: int = 400
) -> list[HeadDensities]:
    """Return g_h(q) of every layer, near heads before far heads.

    Far heads have a closed form; for near heads the product of cutoff and mixture is
    transformed numerically, see `radial_transform`. Spectra with directions: as
    `head_kernels`; means over directions of box and triangle are quadratures too.

    Args:
        model: The model.
        q: Frequencies [cycles/Å]; None: from 0 to the end of the group's band, or, for
            spectra without one, to a few times the inverse of the shortest length.
        num_points: Number of frequencies where `q` is None.

    Raises:
        UsageError: `q` is no list of finite numbers that are not negative.
    """
    out = []
    for heads in head_groups(model):
        points = _points("q", q, heads.band, num_points)
        density, finer = heads.density(points, 1), heads.density(points, 2)
        error = float(np.abs(finer - density).max(initial=0.0))
        out.append(HeadDensities(heads.layer, heads.group, points, finer, error))
    return out


def are_means_over_directions(model: FLTModel) -> bool:
    """Return whether f and g of some head depend on direction, and curves do not."""
    return any(heads.directed is not None for heads in head_groups(model))


def _points(
    name: str, given: ArrayLike | None, end: float, num_points: int
) -> NDArray[np.float64]:
    if given is None:
        return np.linspace(0.0, end, num_points)
    return sizes(name, given)
