"""Radial functions as splines: values, slopes and curvatures at equidistant knots."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from molflt.nn.cutoff import Cutoff
from molflt.nn.shells import RadialShells

TOLERANCE = {torch.float32: 1e-8, torch.float64: 1e-13}
"""Error of a table by type, over the largest |f|; a test measures it."""

Table = Float[Tensor, "knots 3 f"]


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


def tabulate(
    function: Callable[[Tensor], Tensor],
    cutoff: float,
    intervals: int,
    device: torch.device | None = None,
) -> Table:
    """Return a function's f, h f' and h^2 f'' at the knots, in float64.

    Differentiable by the parameters of the function.

    Args:
        function: Maps distances (k,) to values (f, k), zero from the cutoff on.
        cutoff: Last knot [Å].
        intervals: Number of intervals of length h.
        device: Where the table is.
    """
    r = torch.linspace(0, cutoff, intervals + 1, dtype=torch.float64, device=device)
    ones = torch.ones_like(r)

    def slope(at: Tensor) -> Tensor:
        return torch.func.jvp(function, (at,), (ones,))[1]

    h = cutoff / intervals
    second, third, *_ = torch.func.jvp(slope, (r,), (ones,))
    return torch.stack([function(r), h * second, h * h * third]).permute(2, 0, 1)


def shell_table(shells: RadialShells, cutoff: Cutoff, dtype: torch.dtype) -> Table:
    """Return the table of c(r) phi_t(r), as fine as numbers of type `dtype` deserve."""
    parameters = {name: p.double() for name, p in shells.named_parameters()}

    def function(r: Tensor) -> Tensor:
        return torch.func.functional_call(shells, parameters, (r,)) * cutoff(r)

    intervals = num_intervals(shells.band, cutoff.cutoff, TOLERANCE[dtype])
    return tabulate(
        function, cutoff.cutoff, intervals, next(shells.parameters()).device
    )


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
