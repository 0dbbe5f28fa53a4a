"""Sums from moments equal the sums of directions that they stand for."""

import pytest
import torch
from ase import Atoms
from ase.build import molecule

from molflt.graph.neighbors import neighbor_pairs
from molflt.nn.angular import directions
from molflt.nn.cutoff import PolynomialCutoff
from molflt.nn.near import moments
from molflt.nn.near.attention import NearAttention
from molflt.nn.spectra.shells import RadialShells
from tests.nn.conftest import assert_same_gradients, make_geometry, unchanged

SUMS = [moments.first_moments, moments.second_moments]


@pytest.mark.parametrize("order", [1, 2])
def test_moments_equal_sums_over_pairs(order):
    torch.manual_seed(0)
    weights = torch.randn(2, 3, 5, 5, requires_grad=True)
    values = torch.randn(3, 5, 2, 4, requires_grad=True)
    places = torch.randn(3, 5, 3, requires_grad=True)
    delta = places[:, :, None] - places[:, None]
    flat = delta.reshape(-1, 3)
    r = flat.norm(dim=1)
    # `directions` is of D / sqrt(r^2 + 1).
    angles = directions(flat, r, order)[order] * (r.square() + 1) ** (order / 2)
    angles = angles.view(-1, 3, 5, 5)
    slow = torch.einsum("hgij,cgij,gjhw->hgicw", weights, angles, values)
    inputs = [weights, values, places]
    if order == 1:
        others = torch.randn(2, 3, 5, 3, 4, requires_grad=True)
        inputs.append(others)
        slow = slow + others
    fast = SUMS[order - 1](*inputs)
    slow = moments.in_rows(slow)
    torch.testing.assert_close(fast, slow)
    assert_same_gradients([fast], [slow], inputs)


@pytest.mark.parametrize("distance", [0.0, 30.0, 3000.0])
def test_dense_equals_linear_however_far_fragments_are_apart(distance, monkeypatch):
    """Moments of large places would cancel: there the tables are used."""
    torch.manual_seed(0)
    shells = RadialShells(6, band=1.0, min_width=0.02)
    heads = NearAttention(8, 2, 3, 2, 2, 2, shells, PolynomialCutoff(4.0)).float()
    first, second = molecule("CH3OH"), molecule("CH3OH")
    second.translate([3.0 + distance, 0, 0])
    structure = Atoms([*first, *second])
    geometry, _ = make_geometry([structure], 4.0)
    geometry.dtype = torch.float32
    geometry.set_pairs(
        *neighbor_pairs(
            geometry.centred,
            geometry.batch,
            1,
            4.0,
            geometry.cell,
            geometry.pbc,
        )
    )
    used = []
    for run in SUMS:

        def watched(*args, run=run):
            used.append(run)
            return run(*args)

        monkeypatch.setattr(moments, run.__name__, watched)
    x = torch.randn(len(structure), 8, dtype=torch.float32)
    vec = torch.randn(len(structure), 3, 4, dtype=torch.float32)
    vectors = vec, unchanged(vec)
    dense, linear = (heads(x, *vectors, geometry, path) for path in ("dense", "linear"))
    assert bool(used) == (distance == 0.0)
    for one, other in zip(dense, linear, strict=True):
        scale = other.abs().max()
        assert (one - other).abs().max() <= 2e-6 * scale
