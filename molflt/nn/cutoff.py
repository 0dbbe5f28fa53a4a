"""Polynomial and cosine cutoffs."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class PolynomialCutoff(nn.Module):
    r"""Smooth step from 1 at r = 0 to 0 at r = cutoff, two derivatives zero at both.

        c(r) = 1 - 10 x^3 + 15 x^4 - 6 x^5,  x = r / cutoff;  c = 0 beyond.

    Args:
        cutoff: Distance [Å] from which on c is zero.

    Source: the C2 case of DimeNet's envelope family, arXiv 2003.03123, Eq. 8 (the
    smoothstep polynomial).
    """

    def __init__(self, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff

    def forward(self, r: Float[Tensor, " p"]) -> Float[Tensor, " p"]:
        """Return c(r) for distances r [Å]."""
        x = (r / self.cutoff).clamp(max=1.0)
        return 1 - x**3 * (10 - 15 * x + 6 * x * x)

    def derivatives(self, r: Float[Tensor, " p"]) -> tuple[Tensor, Tensor, Tensor]:
        """Return c(r), c'(r) and c''(r) for distances r [Å]."""
        x = (r / self.cutoff).clamp(max=1.0)
        first = -30 * (x * (1 - x)).square() / self.cutoff
        second = -60 * x * (1 - x) * (1 - 2 * x) / self.cutoff**2
        return self(r), first, second


class CosineCutoff(nn.Module):
    r"""Behler's cutoff c(r) = (1 + cos(pi r / cutoff)) / 2, zero beyond.

    One derivative is continuous at the cutoff; forces are, their derivatives are not.

    Args:
        cutoff: Distance [Å] from which on c is zero.

    Source: Behler and Parrinello, Phys. Rev. Lett. 98, 146401 (2007), Eq. 4.
    """

    def __init__(self, cutoff: float) -> None:
        super().__init__()
        self.cutoff = cutoff

    def forward(self, r: Float[Tensor, " p"]) -> Float[Tensor, " p"]:
        """Return c(r) for distances r [Å]."""
        inside = (r / self.cutoff).clamp(max=1.0)
        return 0.5 * (1 + torch.cos(math.pi * inside))

    def derivatives(self, r: Float[Tensor, " p"]) -> tuple[Tensor, Tensor, Tensor]:
        """Return c(r), c'(r) and c''(r) for distances r [Å], those from inside."""
        rate = math.pi / self.cutoff
        phase = rate * r.clamp(max=self.cutoff)
        first, second = -0.5 * rate * phase.sin(), -0.5 * rate**2 * phase.cos()
        return self(r), first, second


Cutoff = PolynomialCutoff | CosineCutoff
