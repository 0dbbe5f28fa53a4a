"""Radial Gaussians: their formula, and smooth at r = 0."""

import math

import pytest
import torch

from molflt.nn.density.gaussians import RadialGaussians


def test_they_are_what_their_formula_says():
    gaussians = RadialGaussians(3, 4.0)
    for r in (0.0, 0.9, 2.5, 3.9):
        found = gaussians(torch.tensor([r], dtype=torch.float64))[:, 0]
        for n in range(3):
            centre = 0.7 + 1.1 * n
            waves = sum(
                math.exp(-((r - side * centre) ** 2) / (2 * 1.1**2)) for side in (1, -1)
            )
            assert float(found[n]) == pytest.approx(waves / (r**2 + 0.25), rel=1e-6)


def test_they_are_smooth_where_two_atoms_meet():
    """As functions of the displacement: of even powers of the distance."""
    gaussians = RadialGaussians(5, 4.0).double()
    r = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    for row in range(5):
        (slope,) = torch.autograd.grad(gaussians(r)[row], r, create_graph=True)
        assert float(slope.detach()) == pytest.approx(0, abs=1e-12)


def test_cutoffs_that_leave_no_room():
    with pytest.raises(ValueError, match="above 0.7"):
        RadialGaussians(3, 0.7)
