"""Splines of radial functions: their error is the one that is stated."""

import pytest
import torch

from molflt.nn.cutoff import CosineCutoff, PolynomialCutoff
from molflt.nn.edges.table import (
    TOLERANCE,
    evaluate,
    num_intervals,
    shell_table,
    spline,
)
from molflt.nn.spectra.shells import RadialShells


def relative_error(shells, cutoff, dtype):
    table = shell_table(shells, cutoff, dtype)
    r = torch.linspace(0, 1.1 * cutoff.cutoff, 10_001)
    exact = (shells(r) * cutoff(r) * (r < cutoff.cutoff)).T
    found = evaluate(table, cutoff.cutoff, r)
    return float((found - exact).abs().amax(0).div(exact.abs().amax(0)).max())


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("cutoff", [PolynomialCutoff(5.0), CosineCutoff(3.0)])
@pytest.mark.parametrize("band", [0.3, 3.0])
def test_error_of_shells_is_below_the_tolerance(dtype, cutoff, band):
    with torch.no_grad():
        error = relative_error(RadialShells(16, band, 0.02), cutoff, dtype)
    assert error < TOLERANCE[dtype]


def test_derivatives_are_those_of_the_functions():
    r = torch.linspace(0, 3, 301)
    for module in (
        RadialShells(5, 2.0, 0.05),
        PolynomialCutoff(3.0),
        CosineCutoff(3.0),
    ):
        slope = lambda at, f=module: torch.func.jvp(f, (at,), (torch.ones_like(at),))[1]  # noqa: E731
        curvature = torch.func.jvp(slope, (r,), (torch.ones_like(r),))[1]
        expected = module(r), slope(r), curvature
        for one, two in zip(module.derivatives(r), expected, strict=True):
            # Where the cutoff ends, one-sided derivatives are meant.
            torch.testing.assert_close(one[..., :-1], two[..., :-1], rtol=0, atol=1e-10)


def test_error_falls_as_the_sixth_power_of_the_spacing():
    errors = []
    r = torch.linspace(0, 4, 5000)
    for intervals in (16, 32, 64):
        knots = torch.linspace(0, 4, intervals + 1)
        wave = torch.stack([torch.cos(3 * knots), torch.sin(3 * knots)]).unsqueeze(1)
        table = spline(wave[0], -3 * wave[1], -9 * wave[0], 4 / intervals)
        errors.append(
            float((evaluate(table, 4.0, r)[:-1, 0] - torch.cos(3 * r)[:-1]).abs().max())
        )
    assert errors[0] / errors[1] == pytest.approx(64, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(64, rel=0.1)
    assert num_intervals(1.0, 5.0, 1e-12) == pytest.approx(
        10 * num_intervals(1.0, 5.0, 1e-6), rel=0.05
    )


def test_gradients_by_distance_and_parameters_are_right():
    shells, cutoff = RadialShells(3, 0.5, 0.05), PolynomialCutoff(4.0)
    r = torch.tensor([0.0, 0.3, 1.7, 3.9, 4.0, 4.2], requires_grad=True)
    exact = (shells(r) * cutoff(r)).T
    found = evaluate(shell_table(shells, cutoff, r.dtype), 4.0, r)
    weight = torch.randn(found.shape)
    for one, two in zip(
        torch.autograd.grad((found * weight).sum(), [r, *shells.parameters()]),
        torch.autograd.grad((exact * weight).sum(), [r, *shells.parameters()]),
        strict=True,
    ):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-10)
    assert torch.autograd.gradgradcheck(
        lambda r: evaluate(shell_table(shells, cutoff, r.dtype), 4.0, r),
        (r.detach()[1:4].requires_grad_(True),),
    )
