"""What the heads learned: f_h(r) and its spectral density g_h(q), as numpy arrays."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import roots_legendre, spherical_jn
from torch import Tensor

from molflt.analysis.attention import attentions, one_model
from molflt.analysis.octant import octant_means
from molflt.model import FLTModel
from molflt.nn.additive import AdditiveAttention
from molflt.nn.layer import FLTLayer
from molflt.nn.near.kernel import NearKernel
from molflt.nn.spectra.kernel_spectrum import KernelSpectrum, RadialKernelSpectrum
from molflt.nn.spectra.spectrum import GaussianMixture, RadialGaussianMixture

Group = Literal["near", "far"]
Curves = Callable[[NDArray[np.float64]], NDArray[np.float64]]  # (p,) -> (h, p)
Densities = Callable[[NDArray[np.float64], int], NDArray[np.float64]]


@dataclass(frozen=True)
class HeadKernels:
    """The encodings f_h(r) of the near or of the far heads of one layer.

    Attributes:
        layer: Index of the layer.
        group: "near" (f is zero beyond the cutoff) or "far".
        r: Distances (p,) [Å].
        f: f_h(r) of each head (h, p), dimensionless.
    """

    layer: int
    group: Group
    r: NDArray[np.float64]
    f: NDArray[np.float64]


@dataclass(frozen=True)
class HeadDensities:
    """The spectral densities g_h(q) of the near or of the far heads of one layer.

    Attributes:
        layer: Index of the layer.
        group: "near" or "far".
        q: Frequencies |xi| (p,) [cycles/Å].
        g: g_h(q) of each head (h, p) [Å^3]; f_h(0) = integral of 4 pi q^2 g_h(q) dq.
        error: Bound of |error of g_h(q)| [Å^3], as far as quadrature causes it: the
            largest change when the nodes are doubled; 0 for closed forms.
    """

    layer: int
    group: Group
    q: NDArray[np.float64]
    g: NDArray[np.float64]
    error: float = 0.0


def head_kernels(
    model: FLTModel, r: ArrayLike | None = None, num_points: int = 400
) -> list[HeadKernels]:
    """Return f_h(r) of every layer, near heads before far heads.

    Near heads include their cutoff; far heads are the closed form. A periodic system
    sums f over the images of each atom; this is f itself. The free, box and triangle
    spectra of the `additive` form depend on direction: theirs are means over
    directions; of the box, by quadrature, to a per cent or so.

    Args:
        model: The model.
        r: Distances [Å]; None: from 0 to the cutoff (near) or to where the widest of
            the far heads' components has ended or decayed to 4e-6.
        num_points: Number of distances where `r` is None.
    """
    out = []
    for heads in _head_groups(model):
        points = _points(r, heads.extent, num_points)
        out.append(HeadKernels(heads.layer, heads.group, points, heads.radial(points)))
    return out


def head_densities(
    model: FLTModel, q: ArrayLike | None = None, num_points: int = 400
) -> list[HeadDensities]:
    """Return g_h(q) of every layer, near heads before far heads.

    Far heads have a closed form; for near heads the product of cutoff and mixture is
    transformed numerically, see `radial_transform`. Spectra with directions: as
    `head_kernels`; means over directions of box and triangle are quadratures too.

    Args:
        model: The model.
        q: Frequencies [cycles/Å]; None: from 0 to the end of the group's band, or, for
            spectra without one, to a few times the inverse of the shortest length.
        num_points: Number of frequencies where `q` is None.
    """
    out = []
    for heads in _head_groups(model):
        points = _points(q, heads.band, num_points)
        density, finer = heads.density(points, 1), heads.density(points, 2)
        error = float(np.abs(finer - density).max(initial=0.0))
        out.append(HeadDensities(heads.layer, heads.group, points, finer, error))
    return out


def are_means_over_directions(model: FLTModel) -> bool:
    """Return whether f and g of some head depend on direction, and curves do not."""
    additive = [
        each.heads.rpe.spectrum
        for each in attentions(model)
        if isinstance(each.heads, AdditiveAttention)
    ]
    return any(
        isinstance(spectrum, (GaussianMixture, KernelSpectrum))
        and not isinstance(spectrum, RadialKernelSpectrum)
        for spectrum in additive
    )


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

    Source: spherical Hankel transform of order 0.
    """
    q = np.atleast_1d(np.asarray(q, dtype=np.float64))
    num_nodes = 48 + math.ceil(6 * (float(q.max(initial=0.0)) + band) * r_max)
    num_nodes *= refinement
    nodes, weights = roots_legendre(num_nodes)
    r = 0.5 * r_max * (nodes + 1)
    measure = 4 * math.pi * r**2 * (0.5 * r_max * weights)
    waves = spherical_jn(0, 2 * math.pi * np.outer(r, q))
    return np.asarray((function(r) * measure) @ waves)


@dataclass(frozen=True)
class _Heads:
    layer: int
    group: Group
    radial: Curves
    density: Densities  # of frequencies and, for quadratures, a refinement
    extent: float  # Å
    band: float  # cycles/Å


def _head_groups(model: FLTModel) -> Iterator[_Heads]:
    for index, layer in enumerate(one_model(model).encoder.layers):
        assert isinstance(layer, FLTLayer)
        heads = layer.attention.heads
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


def _near(index: int, kernel: NearKernel) -> _Heads:
    reach, band = kernel.cutoff.cutoff, kernel.mixture.shells.band

    def radial(r: NDArray[np.float64]) -> NDArray[np.float64]:
        return _evaluated(kernel.radial, r, kernel.mixture.coefficients)

    def density(q: NDArray[np.float64], refinement: int) -> NDArray[np.float64]:
        return radial_transform(radial, reach, q, band, refinement)

    # The cutoff smears each frequency by about one over its own length.
    return _Heads(index, "near", radial, density, reach, band + 2 / reach)


def _far(index: int, mixture: RadialGaussianMixture, num_heads: int) -> _Heads:
    shells = mixture.shells

    def radial(r: NDArray[np.float64]) -> NDArray[np.float64]:
        return _evaluated(mixture.radial, r, mixture.coefficients)[:num_heads]

    def density(q: NDArray[np.float64], _: int) -> NDArray[np.float64]:
        def mixed(points: Tensor) -> Tensor:
            return mixture.weights @ shells.density(points)

        return _evaluated(mixed, q, mixture.coefficients)[:num_heads]

    extent = _extent(shells.widths)
    return _Heads(index, "far", radial, density, extent, shells.band)


def _direction_means(index: int, mixture: GaussianMixture) -> _Heads:
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

    band = float((k + 5 * s).max())
    return _Heads(index, "far", radial, density, _extent(mixture.widths), band)


def _radial_kernels(index: int, spectrum: RadialKernelSpectrum) -> _Heads:
    def radial(r: NDArray[np.float64]) -> NDArray[np.float64]:
        return _evaluated(spectrum.radial, r, spectrum.coefficients)

    def density(q: NDArray[np.float64], _: int) -> NDArray[np.float64]:
        return _evaluated(spectrum.radial_density, q, spectrum.coefficients)

    return _Heads(index, "far", radial, density, *_ends(spectrum))


def _octant_means(index: int, spectrum: KernelSpectrum) -> _Heads:
    def kernel(delta: NDArray[np.float64]) -> NDArray[np.float64]:
        return _evaluated(spectrum.kernel, delta, spectrum.coefficients)

    def transform(xi: NDArray[np.float64]) -> NDArray[np.float64]:
        return _evaluated(spectrum.density, xi, spectrum.coefficients)

    def radial(r: NDArray[np.float64]) -> NDArray[np.float64]:
        return octant_means(kernel, r, 64)

    def density(q: NDArray[np.float64], refinement: int) -> NDArray[np.float64]:
        return octant_means(transform, q, 32 * refinement)

    return _Heads(index, "far", radial, density, *_ends(spectrum))


def _ends(spectrum: KernelSpectrum) -> tuple[float, float]:
    """Return how far f and g of a spectrum without a band are worth a look."""
    lengths = spectrum.lengths.detach()
    # A little farther than what ends abruptly.
    extent = 1.1 * spectrum.reach * float(lengths.max())
    return extent, spectrum.frequency_reach / float(lengths.min())


def _extent(widths: Tensor) -> float:
    return 5 / (2 * math.pi * float(widths.detach().min()))


def _points(
    given: ArrayLike | None, end: float, num_points: int
) -> NDArray[np.float64]:
    if given is None:
        return np.linspace(0.0, end, num_points)
    return np.atleast_1d(np.asarray(given, dtype=np.float64))


@torch.no_grad()
def _evaluated(
    function: Callable[[Tensor], Tensor], points: NDArray[np.float64], like: Tensor
) -> NDArray[np.float64]:
    """Return function(points), evaluated in the type and on the device of `like`."""
    values = function(torch.as_tensor(points, dtype=like.dtype, device=like.device))
    return np.asarray(values.double().cpu().numpy())
