"""Spectra by name, as the option `spectrum` of the additive form has them."""

import math
from collections.abc import Callable
from typing import Literal, get_args

from molflt.nn.spectra.decaying import Gaussian, Laplace, Matern
from molflt.nn.spectra.kernel_spectrum import KernelSpectrum
from molflt.nn.spectra.local import Ball, Box, Triangle
from molflt.nn.spectra.shells import RadialShells
from molflt.nn.spectra.spectrum import GaussianMixture, RadialGaussianMixture

Spectrum = RadialGaussianMixture | GaussianMixture | KernelSpectrum

SpectrumName = Literal[
    "radial", "free", "gaussian", "laplace", "matern", "box", "triangle", "ball"
]


def proposal_width(shells: RadialShells) -> float:
    """Return the standard deviation [cycles/Å] of the frequencies of features."""
    return shells.band / 3


def _free(num_heads: int, shells: RadialShells) -> GaussianMixture:
    # Blobs stay narrower than the proposal, so that features have finite variance.
    width = proposal_width(shells)
    return GaussianMixture(num_heads, shells.num_components, max_width=width)


def _gaussian(num_heads: int, shells: RadialShells) -> Gaussian:
    # Half as wide as the proposal in frequency: features have finite variance.
    return Gaussian(num_heads, length=1 / (math.pi * proposal_width(shells)))


def _of_fixed_length(spectrum: KernelSpectrum) -> KernelSpectrum:
    spectrum.log_length.requires_grad_(False)  # f has no derivative by it
    return spectrum


SPECTRA: dict[str, Callable[[int, RadialShells], Spectrum]] = {
    "radial": RadialGaussianMixture,
    "free": _free,
    "gaussian": _gaussian,
    "laplace": lambda num_heads, _: Laplace(num_heads),
    "matern": lambda num_heads, _: Matern(num_heads),
    "box": lambda num_heads, _: _of_fixed_length(Box(num_heads)),
    "triangle": lambda num_heads, _: Triangle(num_heads),
    "ball": lambda num_heads, _: _of_fixed_length(Ball(num_heads)),
}
"""How each spectrum is built of a number of heads and the far heads' shells."""


def build_spectrum(name: str, num_heads: int, shells: RadialShells) -> Spectrum:
    """Return a new spectrum.

    Args:
        name: One of `SpectrumName`.
        num_heads: Number of heads.
        shells: Radial shells of the far heads; only "radial" has them for its own,
            "free" takes their number, "free" and "gaussian" their band.

    Raises:
        ValueError: There is no such spectrum.
    """
    if name not in SPECTRA:
        known = ", ".join(get_args(SpectrumName))
        raise ValueError(f"spectrum must be one of {known}, received {name!r}")
    return SPECTRA[name](num_heads, shells)
