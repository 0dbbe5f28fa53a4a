"""The mathematics of FLT on tensors: spectra, encodings, attention, layers.

| file | concept |
|---|---|
| shells, spectrum | spectral densities g and the encodings f they transform into |
| kernel_spectrum, *_spectra, spectra | those of known kernels; all of them by name |
| frequencies, fourier_rpe | random features N1, N2 with E[N1 N2^T] = f (Theorem 4.1) |
| orthogonal | rows of random features that are orthogonal |
| favor, additive | the paper's softmax form, exact or by positive random features |
| heads, near, far, masked | the masked form: compact and long-ranged heads |
| attention | either form, by its name |
| near_kernel | kernels of near heads |
| angular, moments | directions of pairs as tensors; sums over pairs from places |
| gaussians, neighbour_density | densities of neighbours by element, compiled or not |
| density_features, density_* | two- and three-body sums as first features |
| displacements | D of all pairs as a linear map of positions and cell |
| paths | how near heads are evaluated |
| streaming, density_stream, blocks | large systems, in blocks of atoms |
| parameter_gradients, plain | gradients of blocks; what may be evaluated so |
| rows, near_rows, filter_rows | sums along rows of edges, compiled (`kernels`) or not |
| edge_sums, near_sums | the same as functions for autograd, to any order |
| table | radial functions as splines |
| far_sums, far_cost | far heads by Fourier transforms; the choice among their ways |
| geometry, pairs, once | pairs and padding of a batch; what layers share |
| share, exchange | a part of a system; what processes tell each other |
| boxes, lattice, nufft | boxes and frequencies; transforms from atoms and back |
| embedding, block, vector_norm | first features; one layer; the norm of vectors |
| readout, readout_* | from features to a target: sums, means, dipole, extent, ... |
| gradients | forces and stress: derivatives of an energy |
| equivariant_head | scalars and vectors per atom, for readouts |
| cutoff, segment | cutoff functions; sums over the atoms of a graph |
| reference | slow twins that the tests compare with |
"""

from molflt.nn.additive import AdditiveAttention
from molflt.nn.attention import FLTAttention
from molflt.nn.block import FLTLayer
from molflt.nn.decaying_spectra import Gaussian, Laplace, Matern
from molflt.nn.favor import PositiveFeatures
from molflt.nn.fourier_rpe import FourierRPE
from molflt.nn.geometry import Geometry
from molflt.nn.kernel_spectrum import KernelSpectrum, RadialKernelSpectrum
from molflt.nn.local_spectra import Ball, Box, Triangle
from molflt.nn.masked import MaskedAttention
from molflt.nn.shells import RadialShells
from molflt.nn.spectrum import GaussianMixture, RadialGaussianMixture

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
