"""Frequencies drawn from a proposal p over R^3, and the value of p at each."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from molflt.nn.spectra.orthogonal import orthogonal_rows

Sampling = Literal["independent", "orthogonal", "sobol"]


def gaussian_density(xi: Float[Tensor, "*s 3"], width: float) -> Float[Tensor, "*s"]:
    """Return p(xi) = (2 pi w^2)^(-3/2) exp(-|xi|^2 / 2 w^2) [Å^3], w = `width`."""
    square = xi.square().sum(-1) / width**2
    return torch.exp(-square / 2) * (2 * math.pi * width**2) ** -1.5


def draw_frequencies(
    num_heads: int,
    num_frequencies: int,
    width: float,
    sampling: Sampling,
    generator: torch.Generator,
) -> Float[Tensor, "h s 3"]:
    """Draw frequencies xi ~ N(0, width^2 I) [cycles/Å] for each head.

    Every sampling has the same marginal law, so a mean over xi is unbiased in each:

    * ``independent``: plain draws; the variance of a mean falls as 1/s.
    * ``orthogonal``: blocks of three mutually orthogonal directions, lengths drawn from
      the chi law of three dimensions (arXiv 1610.09072).
    * ``sobol``: a scrambled Sobol sequence through the inverse normal distribution;
      best at powers of two (Owen 1998).

    Args:
        num_heads: Number of heads; each has its own draws.
        num_frequencies: Number s of frequencies of each head.
        width: Standard deviation of each component [cycles/Å].
        sampling: One of the above.
        generator: Source of randomness, on the CPU.

    Raises:
        ValueError: Unknown sampling.
    """
    shape = (num_heads, num_frequencies, 3)
    if sampling == "independent":
        unit = torch.randn(shape, generator=generator, dtype=torch.float64)
    elif sampling == "orthogonal":
        unit = orthogonal_rows(num_heads, num_frequencies, 3, generator)
    elif sampling == "sobol":
        unit = torch.stack(
            [_sobol(num_frequencies, generator) for _ in range(num_heads)]
        )
    else:
        raise ValueError(
            f"sampling must be independent, orthogonal or sobol, received {sampling!r}"
        )
    return width * unit


def _sobol(num_frequencies: int, generator: torch.Generator) -> Float[Tensor, "s 3"]:
    seed = int(torch.randint(2**31 - 1, (), generator=generator))
    engine = torch.quasirandom.SobolEngine(3, scramble=True, seed=seed)
    uniform = engine.draw(num_frequencies, dtype=torch.float64)
    # The engine works on a grid of 2^-30; ndtri diverges at its end points.
    return torch.special.ndtri(uniform.clamp(2**-31, 1 - 2**-31))
