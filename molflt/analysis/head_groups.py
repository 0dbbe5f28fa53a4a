"""The near and the far heads of each layer as functions of distance and frequency."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molflt.analysis.attention import attentions
from molflt.analysis.octant import octant_means
from molflt.analysis.radial_transform import Curves, radial_transform
from molflt.model import FLTModel
from molflt.nn.additive import AdditiveAttention
from molflt.nn.near.kernel import NearKernel
from molflt.nn.spectra.kernel_spectrum import KernelSpectrum, RadialKernelSpectrum
from molflt.nn.spectra.spectrum import GaussianMixture, RadialGaussianMixture

Group = Literal["near", "far"]
Densities = Callable[[NDArray[np.float64], int], NDArray[np.float64]]


@dataclass(frozen=True)
class HeadGroup:
    """What there is to know of the near or of the far heads of one layer.

    Attributes:
        layer: Index of the layer.
        group: "near" or "far".
        radial: f of distances, or its mean over directions.
        density: g of frequencies and, for quadratures, a refinement.
        extent: Distance at which f has ended [Å].
        band: Frequency at which g has ended [cycles/Å].
        directed: f of displacements, if it depends on more than their length.
    """

    layer: int
    group: Group
    radial: Curves
    density: Densities
    extent: float
    band: float
    directed: Curves | None = None

    def kernel(self, delta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return f of displacements (p, 3) [Å]: (h, p)."""
        if self.directed is not None:
            return self.directed(delta)
        return self.radial(np.linalg.norm(delta, axis=-1))


def head_groups(model: FLTModel) -> Iterator[HeadGroup]:
    """Yield what every layer has, near heads before far heads."""
    for index, attention in enumerate(attentions(model)):
        heads = attention.heads
        if isinstance(heads, AdditiveAttention):
            spectrum = heads.rpe.spectrum
            if isinstance(spectrum, GaussianMixture):
                yield _direction_means(index, spectrum)
            elif isinstance(spectrum, RadialKernelSpectrum):
                yield _radial_kernels(index, spectrum)
            elif isinstance(spectrum, KernelSpectrum):
                yield _octant_means(index, spectrum)
            else:
                yield _far(index, spectrum, spectrum.num_heads)
            continue
        if heads.near is not None:
            yield _near(index, heads.near.kernel)
        if heads.far is not None:
            # The mixture also holds the kernels of the vector messages, after these.
            yield _far(index, heads.far.mixture, heads.far.num_heads)


def _near(index: int, kernel: NearKernel) -> HeadGroup:
    reach, band = kernel.cutoff.cutoff, kernel.mixture.shells.band

    def radial(r: NDArray[np.float64]) -> NDArray[np.float64]:
        return _evaluated(kernel.radial, r, kernel.mixture.coefficients)

    def density(q: NDArray[np.float64], refinement: int) -> NDArray[np.float64]:
        return radial_transform(radial, reach, q, band, refinement)

    # The cutoff smears each frequency by about one over its own length.
    return HeadGroup(index, "near", radial, density, reach, band + 2 / reach)


def _far(index: int, mixture: RadialGaussianMixture, num_heads: int) -> HeadGroup:
    shells = mixture.shells

    def radial(r: NDArray[np.float64]) -> NDArray[np.float64]:
        return _evaluated(mixture.radial, r, mixture.coefficients)[:num_heads]

    def density(q: NDArray[np.float64], _: int) -> NDArray[np.float64]:
        def mixed(points: Tensor) -> Tensor:
            return mixture.weights @ shells.density(points)

        return _evaluated(mixed, q, mixture.coefficients)[:num_heads]

    extent = _extent(shells.widths)
    return HeadGroup(index, "far", radial, density, extent, shells.band)


def _direction_means(index: int, mixture: GaussianMixture) -> HeadGroup:
    """Means over directions: each blob becomes a shell of radius |mu| and width s."""
    weights = mixture.weights.detach().double().cpu().numpy()[..., None]  # (h, t, 1)
    s = mixture.widths.detach().double().cpu().numpy()[..., None]
    k = mixture.centres.detach().double().norm(dim=-1).cpu().numpy()[..., None]

    def radial(r: NDArray[np.float64]) -> NDArray[np.float64]:
        waves = np.exp(-2 * (math.pi * s * r) ** 2) * np.sinc(2 * k * r)
        return np.asarray((weights * waves).sum(1))

    def density(q: NDArray[np.float64], _: int) -> NDArray[np.float64]:
        twice = np.maximum(2 * q * k / s**2, 1e-12)
        ratio = -np.expm1(-twice) / twice
        shells = (2 * math.pi * s**2) ** -1.5 * np.exp(-((q - k) ** 2) / (2 * s**2))
        return np.asarray((weights * shells * ratio).sum(1))

    def kernel(delta: NDArray[np.float64]) -> NDArray[np.float64]:
        return _evaluated(mixture.kernel, delta, mixture.weights)

    extent, band = _extent(mixture.widths), float((k + 5 * s).max())
    return HeadGroup(index, "far", radial, density, extent, band, kernel)


def _radial_kernels(index: int, spectrum: RadialKernelSpectrum) -> HeadGroup:
    def radial(r: NDArray[np.float64]) -> NDArray[np.float64]:
        return _evaluated(spectrum.radial, r, spectrum.coefficients)

    def density(q: NDArray[np.float64], _: int) -> NDArray[np.float64]:
        return _evaluated(spectrum.radial_density, q, spectrum.coefficients)

    return HeadGroup(index, "far", radial, density, *_ends(spectrum))


def _octant_means(index: int, spectrum: KernelSpectrum) -> HeadGroup:
    def kernel(delta: NDArray[np.float64]) -> NDArray[np.float64]:
        return _evaluated(spectrum.kernel, delta, spectrum.coefficients)

    def transform(xi: NDArray[np.float64]) -> NDArray[np.float64]:
        return _evaluated(spectrum.density, xi, spectrum.coefficients)

    def radial(r: NDArray[np.float64]) -> NDArray[np.float64]:
        return octant_means(kernel, r, 64)

    def density(q: NDArray[np.float64], refinement: int) -> NDArray[np.float64]:
        return octant_means(transform, q, 32 * refinement)

    return HeadGroup(index, "far", radial, density, *_ends(spectrum), kernel)


def _ends(spectrum: KernelSpectrum) -> tuple[float, float]:
    """Return how far f and g of a spectrum without a band are worth a look."""
    lengths = spectrum.lengths.detach()
    # A little farther than what ends abruptly.
    extent = 1.1 * spectrum.reach * float(lengths.max())
    return extent, spectrum.frequency_reach / float(lengths.min())


def _extent(widths: Tensor) -> float:
    return 5 / (2 * math.pi * float(widths.detach().min()))


@torch.no_grad()
def _evaluated(
    function: Callable[[Tensor], Tensor], points: NDArray[np.float64], like: Tensor
) -> NDArray[np.float64]:
    """Return function(points), evaluated in the type and on the device of `like`."""
    values = function(torch.as_tensor(points, dtype=like.dtype, device=like.device))
    return np.asarray(values.double().cpu().numpy())
