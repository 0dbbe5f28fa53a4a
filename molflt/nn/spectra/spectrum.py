"""Learned spectral densities g over R^3 and the encodings f they transform into."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molflt.nn.spectra.shells import RadialShells


def distance(delta: Float[Tensor, "*p 3"]) -> Float[Tensor, "*p"]:
    """Return |D| with derivative 0 at D = 0, which is right for what is even in D."""
    square = delta.square().sum(dim=-1)
    zero = square == 0
    r = torch.where(zero, torch.ones_like(square), square).sqrt()
    return torch.where(zero, torch.zeros_like(r), r)


class RadialGaussianMixture(nn.Module):
    r"""A rotation-invariant spectrum: per head a weighted sum of radial shells.

        f_h(r) = sum_t w_ht phi_t(r)        g_h(q) = sum_t w_ht g_t(q)

    with phi_t, g_t of `RadialShells`. Weights may be negative. f_h depends on distance
    alone, so an energy built from it cannot depend on how a molecule is turned.

    Args:
        num_heads: Number of heads h.
        shells: The shells; several spectra may share one object.
        scale: Root mean square of f_h(r), r from 0.5 to 6 Å, at initialisation.

    Source: average over rotations of the Gaussian mixture of arXiv 2302.01925, Sec. 4.
    """

    def __init__(
        self, num_heads: int, shells: RadialShells, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.shells = shells
        # A shell of high frequency is small in real space (1 / (2 pi k r)). Without
        # this preconditioner an optimiser with one step size would hardly use it.
        with torch.no_grad():
            r = torch.linspace(0.5, min(shells.reach, 6.0), 64)
            amplitude = shells(r).square().mean(dim=1).rsqrt()
        self.register_buffer("amplitude", amplitude)
        init = scale / math.sqrt(shells.num_components)
        self.coefficients = nn.Parameter(
            init * torch.randn(num_heads, shells.num_components)
        )

    amplitude: Tensor

    @property
    def weights(self) -> Float[Tensor, "h t"]:
        """Weights w_ht."""
        return self.coefficients * self.amplitude

    def radial(self, r: Float[Tensor, " p"]) -> Float[Tensor, "h p"]:
        """Return f_h(r) for distances r [Å]."""
        return self.weights @ self.shells(r)

    def slope(self, r: Float[Tensor, " p"]) -> Float[Tensor, "h p"]:
        """Return df_h/dr / r [1/Å^2]; the gradient of f_h(D) is this times D."""
        return self.weights @ self.shells.slope(r)

    def kernel(self, delta: Float[Tensor, "p 3"]) -> Float[Tensor, "h p"]:
        """Return f_h(D) for displacements D [Å]."""
        return self.radial(distance(delta))

    def density(self, xi: Float[Tensor, "*s 3"]) -> Float[Tensor, " h *s"]:
        """Return g_h(xi) [Å^3] for frequencies xi [cycles/Å]."""
        shells = self.shells.density(distance(xi))
        return torch.tensordot(self.weights, shells, dims=1)

    def own_density(self, xi: Float[Tensor, "h s 3"]) -> Float[Tensor, "h s"]:
        """Return g_h(xi_h) [Å^3], each head at its own frequencies [cycles/Å]."""
        shells = self.shells.density(distance(xi))
        return torch.einsum("ht,ths->hs", self.weights, shells)


class GaussianMixture(nn.Module):
    r"""The paper's spectrum: per head T Gaussian blobs with weight, centre and width.

        g_h(xi) = sum_t w_ht (2 pi s_ht^2)^(-3/2)
                  [E(xi - mu_ht) + E(xi + mu_ht)] / 2,  E(x) = exp(-|x|^2 / 2 s_ht^2)
        f_h(D)  = sum_t w_ht exp(-2 pi^2 s_ht^2 |D|^2) cos(2 pi mu_ht . D)

    The even part in xi is taken, so f is real. A centre mu off zero is a direction in
    space: f, and an energy built from it, then depends on how a molecule is turned.

    Args:
        num_heads: Number of heads h.
        num_components: Number T of blobs per head.
        max_width: Bound of s_ht [cycles/Å]. The variance of a Monte Carlo estimate with
            frequencies drawn from N(0, sigma_p^2) is finite only for s^2 < 2 sigma_p^2.
        scale: Standard deviation of f_h(0) at initialisation. Zero is refused: with
            features of the square-root split, all-zero weights have zero gradient.

    Raises:
        ValueError: `scale` is not positive.

    Source: arXiv 2302.01925, Sec. 4 (there exp(-|xi - mu|^2 / sigma^2) without norm,
    sigma^2 = 2 s^2; the constant is absorbed by w).
    """

    def __init__(
        self,
        num_heads: int,
        num_components: int = 25,
        max_width: float = 0.1,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        if scale <= 0:
            raise ValueError(f"scale must be larger than 0, received {scale}")
        self.num_heads = num_heads
        self.num_components = num_components
        self.max_width = max_width
        shape = (num_heads, num_components)
        self.weights = nn.Parameter(
            scale / math.sqrt(num_components) * torch.randn(shape)
        )
        self.centres = nn.Parameter(0.5 * max_width * torch.randn(*shape, 3))
        self.width_logit = nn.Parameter(torch.randn(shape))

    @property
    def widths(self) -> Float[Tensor, "h t"]:
        """Standard deviations s_ht [cycles/Å], below `max_width`."""
        return self.max_width * torch.sigmoid(self.width_logit)

    def kernel(self, delta: Float[Tensor, "p 3"]) -> Float[Tensor, "h p"]:
        """Return f_h(D) for displacements D [Å]."""
        square = delta.square().sum(dim=-1)  # (p,)
        rate = 2 * math.pi**2 * self.widths.square()  # (h, t)
        phase = 2 * math.pi * torch.einsum("htx,px->htp", self.centres, delta)
        waves = torch.exp(-rate[..., None] * square) * torch.cos(phase)
        return torch.einsum("ht,htp->hp", self.weights, waves)

    def density(self, xi: Float[Tensor, "*s 3"]) -> Float[Tensor, " h *s"]:
        """Return g_h(xi) [Å^3] for frequencies xi [cycles/Å]."""
        points = xi.reshape(1, -1, 3).expand(self.num_heads, -1, 3)
        return self.own_density(points).reshape(-1, *xi.shape[:-1])

    def own_density(self, xi: Float[Tensor, "h s 3"]) -> Float[Tensor, "h s"]:
        """Return g_h(xi_h) [Å^3], each head at its own frequencies [cycles/Å]."""
        s2 = self.widths.square()[..., None]  # (h, t, 1)
        mu, points = self.centres[:, :, None], xi[:, None]  # (h, t, 1, 3), (h, 1, s, 3)
        plus = torch.exp(-(points - mu).square().sum(-1) / (2 * s2))
        minus = torch.exp(-(points + mu).square().sum(-1) / (2 * s2))
        blobs = (plus + minus) / 2 * (2 * math.pi * s2) ** -1.5
        return torch.einsum("ht,hts->hs", self.weights, blobs)
