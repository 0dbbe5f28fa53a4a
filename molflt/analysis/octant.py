"""Means over directions of functions that are even in x, y and z."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import roots_legendre

Function = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def octant_means(
    function: Function, radii: NDArray[np.float64], num_nodes: int
) -> NDArray[np.float64]:
    """Return the mean of a function over spheres (h, p); one octant has all of it.

    Gauss-Legendre nodes in the height and in the angle about it: exact to rounding
    where the function is smooth, to about 1 / `num_nodes` where it jumps.

    Args:
        function: Takes points (k, 3), returns values of each head (h, k).
        radii: Radii of the spheres (p,).
        num_nodes: Nodes of either kind.
    """
    nodes, weights = roots_legendre(num_nodes)
    height, angle = np.meshgrid(0.5 * (nodes + 1), 0.25 * math.pi * (nodes + 1))
    flat = np.sqrt(1 - height**2)
    unit = np.stack([flat * np.cos(angle), flat * np.sin(angle), height], axis=-1)
    share = np.outer(weights, weights).ravel() / 4
    points = unit.reshape(-1, 3)
    return np.stack([function(radius * points) @ share for radius in radii], axis=1)
