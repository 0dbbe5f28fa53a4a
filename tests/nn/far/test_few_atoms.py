"""Errors of far heads where few atoms meet themselves or many images of each other."""

import math

import pytest
import torch
from ase import Atoms

from molflt.nn.far.lattice import Lattice
from tests.nn.conftest import make_geometry

from .far_heads import LINEAR, NUFFT, WAVES, far, features, norms, relative_errors

DEFAULT = {"band": 0.25, "min_width": 0.02}  # of the encoder
TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-6, 1e-8)
PERIODIC = pytest.mark.parametrize(
    "pbc",
    [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 1), (1, 1, 1)],
    ids=lambda pbc: "".join(map(str, pbc)),
)


def crowd(size, pbc, side):
    """Atoms at random, as dense as matter in open directions, in cells in others."""
    length = (size / 0.08) ** (1 / 3)
    sides = torch.tensor([side if periodic else length for periodic in pbc])
    cell = torch.diag(sides)
    cell[1, 0] = 0.3 * side * pbc[0] * pbc[1]  # skewed, if it can be
    return Atoms(f"H{size}", (torch.rand(size, 3) @ cell).numpy(), cell=cell, pbc=pbc)


def heads(tolerance, costs):
    """Heads of one shell each: as near to G = 0 as may be, and to the band."""
    torch.manual_seed(0)
    module = far(True, tolerance, costs, **DEFAULT)
    with torch.no_grad():
        module.mixture.shells.width_logit.fill_(-9.0)
        module.mixture.shells.radius_logit.copy_(torch.tensor([-9.0, 9.0, 0.0, 0.0]))
        weights = torch.eye(2, 4).repeat(2, 1)
        module.mixture.coefficients.copy_(weights)
    return module


@LINEAR
@PERIODIC
@pytest.mark.parametrize("size", [1, 6, 100])
def test_error_stays_below_the_tolerance(size, pbc, costs):
    for side in (2.5, 5.0):
        geometry, _ = make_geometry([crowd(size, pbc, side)], cutoff=1.0)
        x = features(size)
        exact = [y.detach() for y in heads(1e-12, None)(x, geometry, "dense")]
        for tolerance in TOLERANCES:
            module = heads(tolerance, costs)
            assert max(relative_errors(module, x, geometry, exact)) < tolerance


@PERIODIC
def test_float32_keeps_the_default_tolerance(pbc):
    geometry, _ = make_geometry([crowd(6, pbc, 2.5)], cutoff=1.0)
    x = features(6).detach()
    exact = [y.detach() for y in heads(1e-12, None)(x, geometry, "dense")]
    scalars, vectors = (n.detach() for n in norms(heads(1e-4, NUFFT), x, geometry))
    for costs in (WAVES, NUFFT):
        geometry.dtype = torch.float32
        found = heads(1e-4, costs).float()(x.float(), geometry, "linear")
        geometry.dtype = torch.float64
        for one, two, norm in zip(
            found, exact, (scalars, vectors[:, None]), strict=True
        ):
            assert float(((one.detach() - two).abs() / norm).max()) < 1e-4


@pytest.mark.parametrize("turned", [False, True])
@PERIODIC
def test_crowding_bounds_the_sum_over_images(pbc, turned):
    """And is no more than twice what it bounds."""
    for side in (2.5, 9.0, 40.0):
        atoms = crowd(1, pbc, side)
        if turned:
            atoms.rotate(40, (1, 2, 3), rotate_cell=True)
        module = heads(1e-8, None)
        shells = module.mixture.shells
        geometry, _ = make_geometry([atoms], cutoff=1.0)
        lattice = geometry.lattice(shells, 1e-8)
        _, vectors, weights = lattice.half()
        with torch.no_grad():
            density = shells.density(vectors[0].norm(dim=1)) * weights[0]
        images = float(density.sum(1).max())
        bound = lattice.crowding(shells.min_width)
        assert images <= 1.09 ** sum(pbc) * bound + 1e-8
        assert bound < 2 * images


def test_the_most_crowded_graph_counts():
    side = torch.eye(3)[None]
    pos, batch = torch.zeros(2, 3), torch.tensor([0, 1])
    lattice = Lattice(pos, batch, torch.cat([50 * side, 5 * side]), 0.1)
    assert lattice.crowding(0.02) == pytest.approx(
        (5 * 0.02 * math.sqrt(2 * math.pi)) ** -3, rel=0.01
    )
