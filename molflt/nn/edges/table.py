"""Radial functions as splines: values, slopes and curvatures at equidistant knots."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from molflt.nn.cutoff import Cutoff
from molflt.nn.density.gaussians import RadialGaussians
from molflt.nn.spectra.shells import RadialShells

TOLERANCE = {torch.float32: 1e-8, torch.float64: 1e-13}
"""Error of a table by type, over the largest |f|; a test measures it."""

Table = Float[Tensor, "knots 3 f"]

Radial = RadialShells | RadialGaussians
"""Functions of distance of a largest frequency, with derivatives."""


def num_intervals(band: float, cutoff: float, tolerance: float) -> int:
    r"""Return how many intervals a quintic Hermite spline needs.

    Its error is at most h^6 max|f^(6)| / 46080, and a function of frequencies up to
    `band` [cycles/Å] times a cutoff function changes by |f^(6)| <= k^6 max|f|, with
    k = 2 pi band + 12 / cutoff.

    Source: P. J. Davis, Interpolation and Approximation (1975), Eq. 3.5.7, for the
    error; Bernstein's inequality.
    """
    rate = 2 * math.pi * band + 12 / cutoff
    return math.ceil(cutoff * rate / (46080 * tolerance) ** (1 / 6))


def spline(values: Tensor, slopes: Tensor, curvatures: Tensor, spacing: float) -> Table:
    """Return the table of functions given at equidistant knots.

    Args:
        values: f at the knots (f, knots).
        slopes: f' (f, knots).
        curvatures: f'' (f, knots).
        spacing: Distance h of the knots.
    """
    scaled = [values, spacing * slopes, spacing**2 * curvatures]
    return torch.stack(scaled).permute(2, 0, 1)


def shell_table(shells: Radial, cutoff: Cutoff, dtype: torch.dtype) -> Table:
    """Return the table of c(r) phi_t(r), as fine as numbers of type `dtype` deserve.

    It is computed in float64, and differentiable by the parameters of the shells.
    """
    intervals = num_intervals(shells.band, cutoff.cutoff, TOLERANCE[dtype])
    r = torch.linspace(
        *(0, cutoff.cutoff, intervals + 1),
        dtype=torch.float64,
        device=shells.device,
    )
    f, f1, f2 = shells.derivatives(r)
    c, c1, c2 = cutoff.derivatives(r)
    slopes, curvatures = f1 * c + f * c1, f2 * c + 2 * f1 * c1 + f * c2
    return spline(f * c, slopes, curvatures, cutoff.cutoff / intervals)


def evaluate(
    table: Table, cutoff: float, r: Float[Tensor, " p"]
) -> Float[Tensor, "p f"]:
    """Return the functions of a table at distances r [Å]; zero from the cutoff on."""
    intervals = len(table) - 1
    inside = (r < cutoff).unsqueeze(1)
    t = torch.where(inside[:, 0], r * (intervals / cutoff), torch.zeros_like(r))
    knot = t.detach().long().clamp(max=intervals - 1)
    u = t - knot
    u2, u3 = u**2, u**3
    right = u3 * (10 - 15 * u + 6 * u2)
    basis = [
        1 - right,
        u + u3 * (-6 + 8 * u - 3 * u2),
        u2 / 2 * (1 - 3 * u + 3 * u2 - u3),
        right,
        u3 * (-4 + 7 * u - 3 * u2),
        u3 / 2 * (1 - 2 * u + u2),
    ]
    ends = torch.cat([table[knot], table[knot + 1]], dim=1)  # (p, 6, f)
    return (torch.stack(basis, dim=1).unsqueeze(1) @ ends).squeeze(1) * inside
