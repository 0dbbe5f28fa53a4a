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

from molflt.errors import UsageError
from molflt.model import FLTModel
from molflt.nn.additive import AdditiveAttention
from molflt.nn.near import NearKernel
from molflt.nn.spectrum import RadialGaussianMixture

Group = Literal["near", "far"]


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
    """

    layer: int
    group: Group
    q: NDArray[np.float64]
    g: NDArray[np.float64]


def head_kernels(
    model: FLTModel, r: ArrayLike | None = None, num_points: int = 400
) -> list[HeadKernels]:
    """Return f_h(r) of every layer, near heads before far heads.

    Near heads include their cutoff; far heads are the closed form. A periodic system
    sums f over images of each atom; this is f itself.

    Args:
        model: The model.
        r: Distances [Å]; None: from 0 to the cutoff (near) or to where the widest of
            the far heads' shells has decayed to 4e-6.
        num_points: Number of distances where `r` is None.

    Raises:
        UsageError: The model has free spectra, whose f depends on direction.
    """
    out = []
    for layer, group, kernel in _groups(model):
        if r is None:
            points = np.linspace(0.0, _extent(kernel), num_points)
        else:
            points = np.atleast_1d(np.asarray(r, dtype=np.float64))
        out.append(HeadKernels(layer, group, points, _radial(kernel, points)))
    return out


def head_densities(
    model: FLTModel, q: ArrayLike | None = None, num_points: int = 400
) -> list[HeadDensities]:
    """Return g_h(q) of every layer, near heads before far heads.

    Far heads have a closed form; for near heads the product of cutoff and mixture is
    transformed numerically, see `radial_transform`.

    Args:
        model: The model.
        q: Frequencies [cycles/Å]; None: from 0 to the end of the group's band.
        num_points: Number of frequencies where `q` is None.

    Raises:
        UsageError: The model has free spectra, whose g depends on direction.
    """
    out = []
    for layer, group, kernel in _groups(model):
        if q is None:
            points = np.linspace(0.0, _band(kernel), num_points)
        else:
            points = np.atleast_1d(np.asarray(q, dtype=np.float64))
        out.append(HeadDensities(layer, group, points, _density(kernel, points)))
    return out


def radial_transform(
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    r_max: float,
    q: ArrayLike,
    band: float = 0.0,
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

    Returns:
        g (h, p) [Å^3].

    Source: spherical Hankel transform of order 0.
    """
    q = np.atleast_1d(np.asarray(q, dtype=np.float64))
    num_nodes = 48 + math.ceil(6 * (float(q.max()) + band) * r_max)
    nodes, weights = roots_legendre(num_nodes)
    r = 0.5 * r_max * (nodes + 1)
    measure = 4 * math.pi * r**2 * (0.5 * r_max * weights)
    waves = spherical_jn(0, 2 * math.pi * np.outer(r, q))
    return np.asarray((function(r) * measure) @ waves)


def _groups(
    model: FLTModel,
) -> Iterator[tuple[int, Group, NearKernel | tuple[RadialGaussianMixture, int]]]:
    """Yield layer, group, and the near kernel or the far mixture and its heads."""
    for index, layer in enumerate(model.encoder.layers):
        heads = layer.attention.heads
        if isinstance(heads, AdditiveAttention):
            spectrum = heads.rpe.spectrum
            if not isinstance(spectrum, RadialGaussianMixture):
                raise UsageError(
                    "This model has free spectra: f depends on direction and is no "
                    "function of distance; only spectrum='radial' can be shown."
                )
            yield index, "far", (spectrum, spectrum.num_heads)
            continue
        if heads.near is not None:
            yield index, "near", heads.near.kernel
        if heads.far is not None:
            # The mixture also holds the kernels of the vector messages, after these.
            yield index, "far", (heads.far.mixture, heads.far.num_heads)


@torch.no_grad()
def _radial(
    kernel: NearKernel | tuple[RadialGaussianMixture, int], r: NDArray[np.float64]
) -> NDArray[np.float64]:
    if isinstance(kernel, NearKernel):
        return _numpy(kernel.radial(_like(r, kernel.mixture)))
    mixture, num_heads = kernel
    return _numpy(mixture.radial(_like(r, mixture))[:num_heads])


@torch.no_grad()
def _density(
    kernel: NearKernel | tuple[RadialGaussianMixture, int], q: NDArray[np.float64]
) -> NDArray[np.float64]:
    if isinstance(kernel, NearKernel):
        band = kernel.mixture.shells.band
        reach = kernel.cutoff.cutoff
        return radial_transform(lambda r: _radial(kernel, r), reach, q, band)
    mixture, num_heads = kernel
    shells = mixture.shells.density(_like(q, mixture))
    return _numpy((mixture.weights @ shells)[:num_heads])


def _extent(kernel: NearKernel | tuple[RadialGaussianMixture, int]) -> float:
    if isinstance(kernel, NearKernel):
        return kernel.cutoff.cutoff
    return 5 / (2 * math.pi * float(kernel[0].shells.widths.detach().min()))


def _band(kernel: NearKernel | tuple[RadialGaussianMixture, int]) -> float:
    if isinstance(kernel, NearKernel):
        # The cutoff smears each frequency by about one over its own length.
        return kernel.mixture.shells.band + 2 / kernel.cutoff.cutoff
    return kernel[0].shells.band


def _like(values: NDArray[np.float64], mixture: RadialGaussianMixture) -> Tensor:
    weights = mixture.coefficients
    return torch.as_tensor(values, dtype=weights.dtype, device=weights.device)


def _numpy(values: Tensor) -> NDArray[np.float64]:
    return values.detach().double().cpu().numpy()
