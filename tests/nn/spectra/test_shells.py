import math

import pytest
import torch

from molflt.nn.spectra.shells import RadialShells, sinc, sinc_slope


@pytest.fixture
def shells():
    shells = RadialShells(5, band=0.6, min_width=0.03)
    with torch.no_grad():
        shells.width_logit.copy_(torch.tensor([-3.0, -1.0, 0.0, 1.0, 2.0]))
    return shells


def test_density_integrates_to_one(shells):
    q = torch.linspace(0, 1.5, 20001)
    integral = torch.trapezoid(4 * math.pi * q**2 * shells.density(q), q, dim=1)
    torch.testing.assert_close(integral, torch.ones(5), rtol=1e-8, atol=0)


def test_shells_are_the_transform_of_their_density(shells):
    q = torch.linspace(0, 1.5, 20001)
    r = torch.tensor([0.0, 0.3, 1.7, 6.0])
    # f(r) = 4 pi Int q^2 g(q) sinc(2 pi q r) dq, the Hankel transform in R^3
    waves = sinc(2 * math.pi * r[:, None] * q)
    integrand = 4 * math.pi * q**2 * shells.density(q)[:, None] * waves
    expected = torch.trapezoid(integrand, q, dim=2)
    torch.testing.assert_close(shells(r), expected, rtol=1e-8, atol=1e-10)


def test_slope_is_the_derivative_over_r(shells):
    r = torch.tensor([1e-3, 0.2, 0.9, 3.0], requires_grad=True)
    for t in range(5):
        (derivative,) = torch.autograd.grad(shells(r)[t].sum(), r)
        torch.testing.assert_close(
            shells.slope(r)[t], derivative / r, rtol=1e-8, atol=0
        )


def test_slope_at_zero_is_the_second_derivative(shells):
    zero = torch.zeros(1)
    wave, rate = 2 * math.pi * shells.radii, 4 * math.pi**2 * shells.widths**2
    torch.testing.assert_close(shells.slope(zero)[:, 0], -(wave**2) / 3 - rate)


def test_band_and_width_hold_whatever_is_learned(shells):
    with torch.no_grad():
        shells.width_logit.uniform_(-50, 50)
        shells.radius_logit.uniform_(-50, 50)
    assert (shells.widths >= shells.min_width).all()
    assert (shells.radii + 5 * shells.widths <= shells.band * (1 + 1e-12)).all()


def test_nearly_all_density_lies_within_the_band(shells):
    with torch.no_grad():
        shells.width_logit[-1] = 30.0  # the widest blob, centred on zero
    q = torch.linspace(0, shells.band, 20001)
    inside = torch.trapezoid(4 * math.pi * q**2 * shells.density(q), q, dim=1)
    assert ((1 - inside).abs() < 2e-5).all()


def test_reach_bounds_the_tail(shells):
    r = torch.linspace(shells.reach, 3 * shells.reach, 100)
    assert shells(r).abs().max() < 4e-6


def test_no_room_for_a_shell_is_refused():
    with pytest.raises(ValueError, match="band / 5"):
        RadialShells(4, band=0.1, min_width=0.02)


@pytest.mark.parametrize("x", [0.0, 1e-9, 0.0099, 0.0101, 0.999, 1.001, 30.0])
def test_sinc_and_slope_against_high_precision(x):
    mpmath = pytest.importorskip("mpmath")
    mpmath.mp.dps = 60
    value = mpmath.mpf(x)
    exact = mpmath.mpf(1) if x == 0 else mpmath.sin(value) / value
    slope = (
        -mpmath.mpf(1) / 3
        if x == 0
        else (value * mpmath.cos(value) - mpmath.sin(value)) / value**3
    )
    tensor = torch.tensor(x)
    assert float(sinc(tensor)) == pytest.approx(float(exact), rel=2e-15, abs=1e-16)
    assert float(sinc_slope(tensor)) == pytest.approx(float(slope), rel=2e-14)


def test_gradients_are_finite_at_zero_to_second_order(shells):
    r = torch.zeros(3, requires_grad=True)
    (first,) = torch.autograd.grad(shells(r).sum(), r, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), r)
    assert torch.equal(first, torch.zeros(3))
    assert torch.isfinite(second).all()
    assert (second != 0).all()


def test_parameters_get_finite_gradients_that_are_not_zero(shells):
    q = torch.tensor([0.0, 1e-8, 0.2, 0.5])
    loss = shells(torch.tensor([0.0, 1.0, 3.0])).sum() + shells.density(q).sum()
    for gradient in torch.autograd.grad(loss, list(shells.parameters())):
        assert torch.isfinite(gradient).all()
        assert gradient.abs().min() > 0
