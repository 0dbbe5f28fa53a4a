"""Gaussian, Laplace and Matern: pairs of transforms, laws and features."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from molflt.nn import AdditiveAttention, FLTAttention, FourierRPE
from molflt.nn.spectra.decaying import Gaussian, Laplace, Matern
from tests.builders import SHORT, small_encoder

from .known_kernels import (
    assert_gradients_at_zero_are_finite,
    assert_model_learns_a_step_and_returns,
    assert_own_density_is_the_density,
    without_gradient,
)

SPECTRA = {
    "gaussian": Gaussian,
    "laplace": Laplace,
    "matern 1/2": lambda h, **more: Matern(h, smoothness=0.5, **more),
    "matern 3/2": Matern,
    "matern 5/2": lambda h, **more: Matern(h, smoothness=2.5, **more),
}
each = pytest.mark.parametrize("build", SPECTRA.values(), ids=SPECTRA)


@each
def test_density_is_the_transform_of_the_kernel(build):
    """g(q) = 4 pi Int r^2 f(r) sinc(2 q r) dr, which converges absolutely."""
    spectrum = build(3, length=2.0)
    q = torch.tensor([0.0, 0.05, 0.2, 0.6])
    got = spectrum.radial_density(q).detach()
    for head in range(3):
        for k, frequency in enumerate(q.tolist()):

            def integrand(r, head=head, frequency=frequency):
                f = spectrum.radial(torch.tensor([r])).detach()[head].item()
                return 4 * math.pi * r**2 * f * np.sinc(2 * frequency * r)

            expected, _ = quad(integrand, 0, 80, limit=400, epsabs=1e-8)
            assert float(got[head, k]) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@each
def test_functions_of_vectors_depend_on_length_alone(build):
    spectrum, points = build(2), torch.randn(7, 3)
    turn = torch.linalg.qr(torch.randn(3, 3)).Q
    for function in (spectrum.kernel, spectrum.density):
        torch.testing.assert_close(function(points @ turn), function(points))
    r = points.norm(dim=1)
    torch.testing.assert_close(spectrum.kernel(points), spectrum.radial(r))
    torch.testing.assert_close(spectrum.density(points), spectrum.radial_density(r))
    assert spectrum.rotation_invariant
    assert_own_density_is_the_density(spectrum)


@each
def test_gradients_at_zero(build):
    assert_gradients_at_zero_are_finite(build(2))


@each
def test_every_parameter_has_gradients_of_both(build):
    spectrum = build(4)
    assert without_gradient(spectrum, spectrum.kernel, 2.0) == []
    assert without_gradient(spectrum, spectrum.density, 0.1) == []


@each
def test_kernels_have_ended_at_their_reach(build):
    spectrum = build(1)
    far = spectrum.radial_shape(spectrum.reach * spectrum.lengths).detach()
    assert 1e-7 < float(far) < 4e-6


@each
def test_heads_differ_about_the_given_length(build):
    lengths = build(5, length=3.0).lengths.detach()
    assert float(lengths[2]) == pytest.approx(3.0)
    assert len(set(lengths.tolist())) == 5
    assert float(build(1, length=3.0).lengths.detach()) == pytest.approx(3.0)


@each
@pytest.mark.parametrize("option", ["length", "scale"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_sizes_out_of_range_are_refused(build, option, value):
    with pytest.raises(ValueError, match=option):
        build(2, **{option: value})


def test_unknown_smoothness_is_refused():
    with pytest.raises(ValueError, match=r"smoothness must be 0\.5, 1\.5 or 2\.5"):
        Matern(2, smoothness=1.0)


def test_matern_of_smoothness_one_half_is_laplace():
    torch.manual_seed(3)
    laplace = Laplace(3)
    torch.manual_seed(3)
    matern = Matern(3, smoothness=0.5)
    delta = torch.randn(6, 3)
    expected = laplace.coefficients[:, None] * torch.exp(
        -delta.norm(dim=1) / laplace.lengths[:, None]
    )
    for spectrum in (laplace, matern):
        torch.testing.assert_close(spectrum.kernel(delta), expected)
    torch.testing.assert_close(laplace.density(delta), matern.density(delta))
    product = (2 * math.pi * laplace.lengths[:, None] * delta.norm(dim=1)).square()
    scale = laplace.coefficients * 8 * math.pi * laplace.lengths**3
    expected = scale[:, None] / (1 + product) ** 2
    torch.testing.assert_close(laplace.density(delta), expected)


def equal_heads(spectrum, length):
    with torch.no_grad():
        spectrum.log_length.fill_(math.log(length))
        spectrum.coefficients.fill_(-1.3)
    return spectrum


def gram(spectrum, width, num_frequencies, pos, seed=3):
    rpe = FourierRPE(spectrum, num_frequencies, width, "independent", seed)
    with torch.no_grad():
        left, right = rpe(pos)
    return torch.einsum("ihf,jhf->hij", left, right)


def test_features_of_a_gaussian_are_unbiased():
    draws = 400  # heads draw independently
    spectrum = equal_heads(Gaussian(draws), 2.5)
    pos = 2 * torch.randn(6, 3)
    estimates = gram(spectrum, 0.08, 64, pos)
    expected = spectrum.kernel((pos[:, None] - pos).view(-1, 3))[0].view(6, 6)
    standard_error = estimates.std(0) / draws**0.5
    error = (estimates.mean(0) - expected).abs()
    assert (error < 4.5 * standard_error + 1e-12).all()


def test_variance_is_finite_for_long_gaussians_alone():
    """Int g^2 / p over growing balls: it converges, or grows without bound."""
    width = 0.08
    least = 1 / (2 * math.pi * math.sqrt(2) * width)

    def second_moment(spectrum, cut):
        q = torch.linspace(0, cut, 20001)
        g = spectrum.radial_density(q).detach()[0]
        p = torch.exp(-q.square() / (2 * width**2)) * (2 * math.pi * width**2) ** -1.5
        return float(torch.trapezoid(4 * math.pi * q**2 * g**2 / p, q))

    for spectrum, finite in (
        (Gaussian(1, length=1.1 * least), True),
        (Gaussian(1, length=0.9 * least), False),
        (Laplace(1), False),
        (Matern(1, smoothness=2.5), False),
    ):
        growth = second_moment(spectrum, 2.0) / second_moment(spectrum, 1.0)
        assert (growth < 1.001) == finite
        assert spectrum.finite_variance(width) == finite


@pytest.mark.parametrize("name", ["gaussian", "laplace", "matern"])
def test_models_learn_a_step_and_return(name, tmp_path):
    assert_model_learns_a_step_and_returns(name, tmp_path)


@pytest.mark.parametrize("name", ["laplace", "matern"])
def test_favor_refuses_infinite_variance(name):
    with pytest.raises(ValueError, match=r"Features of .* no finite variance"):
        FLTAttention(16, "additive", vector_width=0, spectrum=name, estimator="favor")


def test_favor_takes_a_gaussian_that_is_long_enough():
    for band in ({}, SHORT, {"far_band": 0.11, "far_min_width": 0.01}):
        options = {"form": "additive", "spectrum": "gaussian", "estimator": "favor"}
        encoder = small_encoder(**{**options, **band})
        heads = encoder.layers[0].attention.heads
        assert heads.rpe.spectrum.finite_variance(heads.rpe.proposal_width)
    rpe = FourierRPE(Gaussian(2, length=0.5), 8, 0.08)
    AdditiveAttention(8, rpe, "softmax")
    with pytest.raises(ValueError, match="no finite variance"):
        AdditiveAttention(8, rpe, "favor")
