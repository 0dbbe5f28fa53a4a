"""Far heads small enough for sums over images, and ways to evaluate them."""

import math

import pytest
import torch

from molflt.nn.far.attention import FarAttention
from molflt.nn.far.cost import FarCosts
from molflt.nn.spectra.shells import RadialShells

WAVES, NUFFT = FarCosts(node=math.inf), FarCosts(wave=math.inf)
SMALL_GRID = (0.4, 0.07)  # band and least width, for tests of many transforms
LINEAR = pytest.mark.parametrize("costs", [WAVES, NUFFT], ids=["waves", "nufft"])
EVERY = pytest.mark.parametrize(
    ("path", "costs"),
    [("dense", None), ("linear", WAVES), ("linear", NUFFT)],
    ids=["dense", "waves", "nufft"],
)


def far(vectors=True, tolerance=1e-7, costs=None, band=0.8, min_width=0.12):
    # Narrow in real space, so that the brute-force sum over images stays small.
    shells = RadialShells(4, band=band, min_width=min_width)
    return FarAttention(8, 2, 3, 2, shells, vectors, tolerance, costs)


def features(n):
    return torch.randn(n, 8, requires_grad=True)


def norms(module, x, geometry):
    """Return sum_t |w_t| sum_j |phi(q_i).phi(k_j)| |v_j| of scalars and vectors."""
    q, k, *values = module.project.split(x)
    same = geometry.batch[:, None] == geometry.batch
    pairs = torch.einsum("ihe,jhe->hij", q, k) * same
    heads = module.num_heads
    weights = module.mixture.weights.abs().sum(1)
    return [
        torch.einsum("h,hij,jhd->ihd", weights[part], pairs, v.abs()).flatten(1)
        for part, v in zip((slice(heads), slice(heads, None)), values, strict=True)
    ]


def relative_errors(module, x, geometry, exact):
    """Return the largest error of scalars and of vectors over its norm."""
    with torch.no_grad():
        scalars, vectors = module(x, geometry, "linear")
        by_scalars, by_vectors = norms(module, x, geometry)
        return (
            float(((scalars - exact[0]).abs() / by_scalars).max()),
            float(((vectors - exact[1]).abs() / by_vectors[:, None]).max()),
        )


def energy(module, x, geometry, path):
    generator = torch.Generator().manual_seed(1)
    parts = module(x, geometry, path)
    return sum((y * torch.randn(y.shape, generator=generator)).sum() for y in parts)
