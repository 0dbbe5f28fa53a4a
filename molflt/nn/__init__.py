"""The mathematics of FLT on tensors: spectra, encodings, attention, layers.

| place | concept |
|---|---|
| `spectra` | spectral densities g, the encodings f they give, features of f |
| `near`, `far` | masked form: compact heads, and heads of any reach |
| heads, masked | what they share; both side by side |
| additive, favor | the paper's softmax form, exact or by positive random features |
| attention | either form, by its name |
| embedding, `density` | first features of an atom; those from densities by element |
| layer, vector_norm | one layer; norms of vectors |
| `readout` | from features to a target: sums, means, dipole, ... |
| gradients | forces and stress: derivatives of an energy |
| geometry, pairs, displacements | pairs and padding of a batch |
| once | what layers share |
| share, exchange | a part of a system; what processes tell each other |
| `edges`, `kernels` | sums over neighbours; the loops that are compiled |
| streaming, blocks | large systems, in blocks of atoms |
| parameter_gradients, plain | gradients of blocks; what may be evaluated so |
| angular, cutoff, segment | directions as tensors; cutoffs; sums over graphs |
| reference | slow twins that the tests compare with |
"""

from molflt.nn.additive import AdditiveAttention
from molflt.nn.attention import FLTAttention
from molflt.nn.favor import PositiveFeatures
from molflt.nn.geometry import Geometry
from molflt.nn.layer import FLTLayer
from molflt.nn.masked import MaskedAttention
from molflt.nn.spectra.decaying import Gaussian, Laplace, Matern
from molflt.nn.spectra.fourier_rpe import FourierRPE
from molflt.nn.spectra.kernel_spectrum import KernelSpectrum, RadialKernelSpectrum
from molflt.nn.spectra.local import Ball, Box, Triangle
from molflt.nn.spectra.shells import RadialShells
from molflt.nn.spectra.spectrum import GaussianMixture, RadialGaussianMixture

__all__ = [
    "AdditiveAttention",
    "Ball",
    "Box",
    "FLTAttention",
    "FLTLayer",
    "FourierRPE",
    "Gaussian",
    "GaussianMixture",
    "Geometry",
    "KernelSpectrum",
    "Laplace",
    "MaskedAttention",
    "Matern",
    "PositiveFeatures",
    "RadialGaussianMixture",
    "RadialKernelSpectrum",
    "RadialShells",
    "Triangle",
]
