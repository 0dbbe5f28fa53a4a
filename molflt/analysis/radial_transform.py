"""Spectral densities of functions of the distance, by quadrature."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import roots_legendre, spherical_jn

from molflt.errors import UsageError

Curves = Callable[[NDArray[np.float64]], NDArray[np.float64]]  # (p,) -> (h, p)


def radial_transform(
    function: Curves,
    r_max: float,
    q: ArrayLike,
    band: float = 0.0,
    refinement: int = 1,
) -> NDArray[np.float64]:
    r"""Fourier transform over R^3 of functions of the distance, by quadrature.

        g(q) = 4 pi Int_0^r_max r^2 f(r) j_0(2 pi q r) dr,   j_0(x) = sin(x) / x

    Gauss-Legendre nodes, some six for each oscillation of the integrand: the error is
    that of rounding where f is smooth inside (0, r_max).

    Args:
        function: Takes distances (k,) [Å] and returns f of each head (h, k).
        r_max: Distance [Å] beyond which f is zero, or as good as.
        q: Frequencies (p,) [cycles/Å].
        band: Largest frequency in f itself [cycles/Å].
        refinement: Multiplies the number of nodes; what it changes is the error.

    Returns:
        g (h, p) [Å^3].

    Raises:
        UsageError: `q` is no list of finite numbers that are not negative.

    Source: spherical Hankel transform of order 0.
    """
    q = sizes("q", q)
    num_nodes = 48 + math.ceil(6 * (float(q.max(initial=0.0)) + band) * r_max)
    num_nodes *= refinement
    nodes, weights = roots_legendre(num_nodes)
    r = 0.5 * r_max * (nodes + 1)
    measure = 4 * math.pi * r**2 * (0.5 * r_max * weights)
    waves = spherical_jn(0, 2 * math.pi * np.outer(r, q))
    return np.asarray((function(r) * measure) @ waves)


def sizes(name: str, given: ArrayLike) -> NDArray[np.float64]:
    """Return distances or frequencies (p,); UsageError, with `name`, for others."""
    points = np.atleast_1d(np.asarray(given, dtype=np.float64))
    if points.ndim > 1:
        raise UsageError(f"{name} must be one list, received shape {points.shape}.")
    if wrong := [float(x) for x in points if not 0 <= x < math.inf]:
        raise UsageError(f"{name} must be finite and at least 0, received {wrong[0]}.")
    return points
