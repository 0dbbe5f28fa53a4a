"""FourierRPE: the encoding f(r_i - r_j) as a product of features, N ~ N1 N2^T."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molflt.nn.spectra.by_name import Spectrum
from molflt.nn.spectra.frequencies import Sampling, draw_frequencies, gaussian_density
from molflt.typing import Positions


class FourierRPE(nn.Module):
    r"""Relative positional encoding f(r_i - r_j) by random features of its spectrum g.

    With frequencies xi_k ~ p and the ratio c_k = g(xi_k) / p(xi_k),

        N1(r)_k = a_k s^(-1/2) (cos 2 pi xi_k.r, sin 2 pi xi_k.r),  a_k = |c_k|^(1/2)
        N2(r)_k = (c_k / a_k) s^(-1/2) (cos 2 pi xi_k.r, sin 2 pi xi_k.r)
        E[N1(r_i) . N2(r_j)] = f(r_i - r_j)

    The sign on one side alone keeps N linear in g and lets f take negative values; the
    same root on both sides keeps the features balanced. Where g changes sign the root
    has no derivative: a_k = (c_k^2 + 1e-8)^(1/4) rounds it off and leaves N as it is.
    Frequencies are drawn once and kept with the weights.

    Args:
        spectrum: The learned spectral density g.
        num_frequencies: Number s of frequencies; the variance of N falls as 1/s.
        proposal_width: Standard deviation of p [cycles/Å]. The variance is finite only
            where every width of the spectrum is below sqrt(2) times this, and for none
            that falls algebraically (`finite_variance` of a `KernelSpectrum`).
        sampling: "independent", "orthogonal" or "sobol".
        seed: Seed of the draw.

    Source: arXiv 2302.01925, Thm. 4.1.
    """

    def __init__(
        self,
        spectrum: Spectrum,
        num_frequencies: int = 32,
        proposal_width: float = 0.08,
        sampling: Sampling = "sobol",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.spectrum = spectrum
        self.num_frequencies = num_frequencies
        self.proposal_width = proposal_width
        generator = torch.Generator().manual_seed(seed)
        sizes = spectrum.num_heads, num_frequencies
        with torch.device("cpu"):  # where the generator is
            xi = draw_frequencies(*sizes, proposal_width, sampling, generator)
        like = torch.get_default_device(), torch.get_default_dtype()
        self.register_buffer("frequencies", xi.to(*like))

    frequencies: Tensor

    def ratio(self) -> Float[Tensor, "h s"]:
        """Return c = g(xi) / p(xi) of each head at its own frequencies."""
        p = gaussian_density(self.frequencies, self.proposal_width)
        return self.spectrum.own_density(self.frequencies) / p

    def forward(
        self, pos: Positions
    ) -> tuple[Float[Tensor, "n h f"], Float[Tensor, "n h f"]]:
        """Return N1 and N2, each (n, h, 2 s), cosines before sines.

        Args:
            pos: Positions [Å], best centred on their graph.
        """
        ratio = self.ratio()
        root = (ratio.square() + 1e-8) ** 0.25
        phase = 2 * math.pi * torch.einsum("nx,hsx->nhs", pos, self.frequencies)
        waves = torch.stack([torch.cos(phase), torch.sin(phase)], dim=2)  # (n, h, 2, s)
        waves = waves / math.sqrt(self.num_frequencies)
        left, right = root.unsqueeze(1) * waves, (ratio / root).unsqueeze(1) * waves
        return left.flatten(2), right.flatten(2)

    def kernel(self, delta: Float[Tensor, "p 3"]) -> Float[Tensor, "h p"]:
        """Return the closed form f_h(D) that the features estimate."""
        return self.spectrum.kernel(delta)
