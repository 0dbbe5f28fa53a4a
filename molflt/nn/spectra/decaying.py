"""Spectra of kernels that decay with distance: Gaussian, Laplace and Matern."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from molflt.nn.spectra.kernel_spectrum import RadialKernelSpectrum


class Gaussian(RadialKernelSpectrum):
    r"""The Gaussian kernel, smooth in both spaces.

        f_h(r) = w_h exp(-r^2 / 2 l_h^2)
        g_h(q) = w_h (2 pi l_h^2)^(3/2) exp(-2 pi^2 l_h^2 q^2),   q = |xi|

    with r in Å and q in cycles/Å, so g in Å^3. Invariant under rotation and mirroring.
    Every parameter has a gradient of f and of g.

    Random features with frequencies of N(0, sigma_p^2) are unbiased, and their variance
    is finite where l_h > 1 / (2 pi sqrt(2) sigma_p), that is, where g is narrower than
    sqrt(2) sigma_p; a length that is learned may leave that range.

    Args:
        num_heads: Number of heads h.
        length: Initial length l [Å], the middle one of the heads.
        scale: Standard deviation of f_h(0) over heads at initialisation.

    Raises:
        ValueError: `length` or `scale` is not positive and finite.

    Source: Rasmussen and Williams 2006, eqs. 4.9 and 4.10.
    """

    reach = 5.0
    frequency_reach = 5 / (2 * math.pi)

    def __init__(self, num_heads: int, length: float = 4.0, scale: float = 1.0) -> None:
        super().__init__(num_heads, length, scale)

    def finite_variance(self, proposal_width: float) -> bool:
        """Whether all of l_h > 1 / (2 pi sqrt(2) `proposal_width`)."""
        least = 1 / (2 * math.pi * math.sqrt(2) * proposal_width)
        return bool((self.lengths.detach() > least).all())

    def shape(self, delta: Float[Tensor, "p 3"]) -> Float[Tensor, "h p"]:
        """Return f_h(D) / w_h for displacements D [Å]."""
        # Of |D|^2, not of |D|: the second derivative at D = 0 is right too.
        return self._bell(delta.square().sum(dim=-1))

    def radial_shape(self, r: Float[Tensor, " p"]) -> Float[Tensor, "h p"]:
        """Return f_h(r) / w_h for distances r [Å]."""
        return self._bell(r.square())

    def radial_transform(self, q: Float[Tensor, "#h s"]) -> Float[Tensor, "h s"]:
        """Return g_h(q_h) / w_h [Å^3] for frequencies q = |xi| [cycles/Å]."""
        square = self.lengths.square()[:, None]
        volume = (2 * math.pi * square) ** 1.5
        return volume * torch.exp(-2 * math.pi**2 * square * q.square())

    def _bell(self, square: Float[Tensor, " p"]) -> Float[Tensor, "h p"]:
        return torch.exp(-square / (2 * self.lengths.square()[:, None]))


class Matern(RadialKernelSpectrum):
    r"""The Matern kernel of smoothness nu = 1/2, 3/2 or 5/2.

        f_h(r) = w_h P(x) exp(-x),   x = sqrt(2 nu) r / l_h
        P(x)   = 1,  1 + x,  1 + x + x^2 / 3   for nu = 1/2, 3/2, 5/2
        g_h(q) = w_h C_nu l_h^3 (1 + 4 pi^2 l_h^2 q^2 / 2 nu)^(-nu - 3/2),   q = |xi|
        C_nu   = 8 pi^(3/2) Gamma(nu + 3/2) / (Gamma(nu) (2 nu)^(3/2))

    with r in Å and q in cycles/Å, so g in Å^3. Invariant under rotation and mirroring.
    Every parameter has a gradient of f and of g. For nu = 1/2 f has a cusp at D = 0,
    where its gradient by D is set to 0.

    Random features with frequencies of a Gaussian proposal are unbiased, but g falls
    algebraically, so that g^2 / p grows without bound and their variance is infinite:
    use the closed form f.

    Args:
        num_heads: Number of heads h.
        length: Initial length l [Å], the middle one of the heads.
        scale: Standard deviation of f_h(0) over heads at initialisation.
        smoothness: nu.

    Raises:
        ValueError: `smoothness` is none of 0.5, 1.5 and 2.5, or `length` or `scale` is
            not positive and finite.

    Source: Rasmussen and Williams 2006, eqs. 4.14 to 4.17.
    """

    def __init__(
        self,
        num_heads: int,
        length: float = 3.0,
        scale: float = 1.0,
        smoothness: float = 1.5,
    ) -> None:
        if smoothness not in (0.5, 1.5, 2.5):
            raise ValueError(
                f"smoothness must be 0.5, 1.5 or 2.5, received {smoothness}"
            )
        super().__init__(num_heads, length, scale)
        self.smoothness = smoothness
        ends = {0.5: 12.5, 1.5: 15.5, 2.5: 17.5}  # x where P(x) exp(-x) < 4e-6
        self.reach = ends[smoothness] / math.sqrt(2 * smoothness)

    def radial_shape(self, r: Float[Tensor, " p"]) -> Float[Tensor, "h p"]:
        """Return f_h(r) / w_h for distances r [Å]."""
        x = math.sqrt(2 * self.smoothness) * r / self.lengths[:, None]
        if self.smoothness == 0.5:
            return torch.exp(-x)
        if self.smoothness == 1.5:
            return (1 + x) * torch.exp(-x)
        return (1 + x + x.square() / 3) * torch.exp(-x)

    def radial_transform(self, q: Float[Tensor, "#h s"]) -> Float[Tensor, "h s"]:
        """Return g_h(q_h) / w_h [Å^3] for frequencies q = |xi| [cycles/Å]."""
        nu, length = self.smoothness, self.lengths[:, None]
        factor = 8 * math.pi**1.5 * math.gamma(nu + 1.5) / math.gamma(nu)
        square = (2 * math.pi * length * q).square() / (2 * nu)
        return factor * (2 * nu) ** -1.5 * length**3 * (1 + square) ** (-nu - 1.5)


class Laplace(Matern):
    r"""The exponential kernel: `Matern` with smoothness 1/2.

        f_h(r) = w_h exp(-r / l_h)
        g_h(q) = w_h 8 pi l_h^3 / (1 + 4 pi^2 l_h^2 q^2)^2,   q = |xi|

    with r in Å and q in cycles/Å, so g in Å^3. Invariant under rotation and mirroring.
    Every parameter has a gradient of f and of g; at D = 0, where f has a cusp, the
    gradient by D is set to 0. Random features with frequencies of a Gaussian proposal
    are unbiased with infinite variance, as g falls as q^-4.

    Args:
        num_heads: Number of heads h.
        length: Initial length l [Å], the middle one of the heads.
        scale: Standard deviation of f_h(0) over heads at initialisation.

    Raises:
        ValueError: `length` or `scale` is not positive and finite.

    Source: Rasmussen and Williams 2006, eq. 4.15 with nu = 1/2 and D = 3.
    """

    def __init__(self, num_heads: int, length: float = 3.0, scale: float = 1.0) -> None:
        super().__init__(num_heads, length, scale, smoothness=0.5)
