"""The paper's form: softmax of q.k / sqrt(d) + f(r_i - r_j), exact or by features."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molflt.errors import UsageError
from molflt.nn.far.lattice import LATTICE_TOLERANCE
from molflt.nn.favor import PositiveFeatures
from molflt.nn.geometry import Geometry
from molflt.nn.spectra.fourier_rpe import FourierRPE
from molflt.nn.spectra.kernel_spectrum import KernelSpectrum
from molflt.nn.spectra.spectrum import RadialGaussianMixture
from molflt.typing import NodeScalars

Estimator = Literal["softmax", "favor"]


class AdditiveAttention(nn.Module):
    r"""Attention with weights exp(q_i.k_j / sqrt(d) + f_h(r_i - r_j)), rows normalised.

    Two estimators, which are *different functions* and never exchanged by size:

    * ``softmax``: exact, quadratic; periodic f is summed over the lattice's modes;
    * ``favor``: positive features of [q, N1] and [k, N2], cost linear in atoms. For
      fixed frequencies numerator and denominator are unbiased; their ratio is biased
      O(1/m), and exp(N) by the frequencies O(1/s).

    The pair j = i is included, as in a softmax. In a periodic system f is summed over
    images inside the logit: wrapping and the choice of cell change nothing, but a
    supercell is another function, as the exponential of a sum over images is not a sum
    over keys. The masked form has that law too.

    Args:
        width: Channels of the scalar features; a multiple of the heads.
        rpe: The encoding; its spectrum has one head for each attention head.
        estimator: "softmax" or "favor".
        num_features: Number m of features of "favor".
        seed: Seed of the features' projection.

    Raises:
        ValueError: `width` is not a multiple of the heads, or the estimator is unknown.
        UsageError: Features of the spectrum would have infinite variance.

    Source: Choromanski et al., arXiv 2302.01925, Def. 3.1 and Thm. 4.1.
    """

    def __init__(
        self,
        width: int,
        rpe: FourierRPE,
        estimator: Estimator = "softmax",
        num_features: int = 64,
        seed: int = 0,
    ) -> None:
        super().__init__()
        num_heads = rpe.spectrum.num_heads
        if width % num_heads:
            raise ValueError(f"width {width} must be a multiple of {num_heads} heads")
        if estimator not in ("softmax", "favor"):
            raise ValueError(
                f"estimator must be 'softmax' or 'favor', received {estimator!r}"
            )
        self.num_heads, self.head_width = num_heads, width // num_heads
        self.rpe = rpe
        self.estimator = estimator
        self.project = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.features = None
        if estimator == "favor":
            _check_variance(rpe)
            size = self.head_width + 2 * rpe.num_frequencies
            self.features = PositiveFeatures(num_heads, size, num_features, seed)

    def split(self, x: NodeScalars) -> list[Float[Tensor, "n h d"]]:
        """Return q / d^(1/4), k / d^(1/4) and v, so that logits are q.k / sqrt(d)."""
        parts = self.project(x).view(-1, self.num_heads, 3 * self.head_width)
        q, k, v = parts.chunk(3, dim=2)
        root = self.head_width**-0.25
        return [q * root, k * root, v]

    def forward(self, x: NodeScalars, geometry: Geometry) -> NodeScalars:
        """Return the update of the scalar features (n, c).

        Args:
            x: Scalar features.
            geometry: Places of the atoms.

        Raises:
            UsageError: A periodic system, where this estimator or spectrum has no sum
                over images.
        """
        q, k, v = self.split(x)
        if self.features is None:
            out = self._softmax(q, k, v, geometry)
        else:
            out = self._favor(q, k, v, geometry)
        return self.mix(out.flatten(1))

    def encoding(self, geometry: Geometry) -> Float[Tensor, "h g a a"]:
        """Return f_h(r_i - r_j), summed over images, of all pairs of a graph."""
        spectrum = self.rpe.spectrum
        if geometry.is_periodic:
            if not isinstance(spectrum, RadialGaussianMixture):
                raise UsageError(
                    f"{type(spectrum).__name__} has no band limit, so its sum over "
                    "periodic images is not available; use a RadialGaussianMixture "
                    "(spectrum: radial) or the form 'masked'."
                )
            modes = geometry.modes(spectrum.shells, LATTICE_TOLERANCE)
            density = (spectrum.density(modes.vectors) * modes.weights).unsqueeze(2)
            left = torch.cat([modes.cos * density, modes.sin * density], dim=3)
            return left @ torch.cat([modes.cos, modes.sin], dim=2).transpose(1, 2)
        delta = geometry.all_pairs.delta
        return spectrum.kernel(delta.view(-1, 3)).view(-1, *delta.shape[:3])

    def _softmax(
        self,
        q: Float[Tensor, "n h d"],
        k: Float[Tensor, "n h d"],
        v: Float[Tensor, "n h d"],
        geometry: Geometry,
    ) -> Float[Tensor, "n h d"]:
        q, k, v = (geometry.pad(part).permute(2, 0, 1, 3) for part in (q, k, v))
        logits = q @ k.transpose(-1, -2) + self.encoding(geometry)
        logits = logits.masked_fill(~geometry.mask[:, None, :], float("-inf"))
        out = logits.softmax(dim=-1) @ v  # (h, g, a, d)
        return geometry.unpad(out.permute(1, 2, 0, 3))

    def _favor(
        self,
        q: Float[Tensor, "n h d"],
        k: Float[Tensor, "n h d"],
        v: Float[Tensor, "n h d"],
        geometry: Geometry,
    ) -> Float[Tensor, "n h d"]:
        if geometry.is_periodic:
            raise UsageError(
                "The estimator 'favor' has no periodic images; use form='masked' or "
                "estimator='softmax' for periodic systems."
            )
        assert self.features is not None
        phi_q, phi_k = self.feature_pair(q, k, geometry)
        ones = torch.ones_like(v[..., :1])
        phi_q, phi_k, v = (
            geometry.pad(part).permute(2, 0, 1, 3)
            for part in (phi_q, phi_k, torch.cat([v, ones], dim=2))
        )
        out = phi_q @ (phi_k.transpose(-1, -2) @ v)  # (h, g, a, d + 1)
        rows = geometry.unpad(out.permute(1, 2, 0, 3))
        return rows[..., :-1] / rows[..., -1:]

    def feature_pair(
        self,
        q: Float[Tensor, "n h d"],
        k: Float[Tensor, "n h d"],
        geometry: Geometry,
    ) -> tuple[Float[Tensor, "n h m"], Float[Tensor, "n h m"]]:
        """Return phi([q, N1]) and phi([k, N2])."""
        assert self.features is not None
        left, right = self.rpe(geometry.centred.to(geometry.dtype))
        phi_q = self.features.queries(torch.cat([q, left], dim=2))
        keys = torch.cat([k, right], dim=2)
        return phi_q, self.features.keys(keys, geometry.batch, geometry.num_graphs)


def _check_variance(rpe: FourierRPE) -> None:
    spectrum, width = rpe.spectrum, rpe.proposal_width
    if isinstance(spectrum, KernelSpectrum) and not spectrum.finite_variance(width):
        raise UsageError(
            f"Features of {type(spectrum).__name__} with frequencies of width "
            f"{width:g} 1/Å have no finite variance; set estimator to softmax, or take "
            "another spectrum."
        )
