"""Theorem 4.1 of arXiv 2302.01925: E[N1 N2^T] = f, with error falling as r^-1/2."""

import pytest
import torch
from jaxtyping import TypeCheckError

from molflt.nn.spectra.fourier_rpe import FourierRPE
from molflt.nn.spectra.frequencies import draw_frequencies, gaussian_density
from molflt.nn.spectra.shells import RadialShells
from molflt.nn.spectra.spectrum import GaussianMixture, RadialGaussianMixture
from molflt.testing import log_slope

WIDTH = 0.1


def spectra(heads):
    """A free and a radial spectrum whose `heads` heads are all the same."""
    torch.manual_seed(1)
    free = GaussianMixture(heads, 5, max_width=WIDTH)
    radial = RadialGaussianMixture(heads, RadialShells(5, 0.3, 0.03))
    with torch.no_grad():
        for spectrum in (free, radial):
            for parameter in spectrum.parameters():
                if parameter.dim() > 1:
                    parameter.copy_(parameter[:1].expand_as(parameter).clone())
    return {"free": free, "radial": radial}


def gram(rpe, pos):
    left, right = rpe(pos)
    return torch.einsum("ihf,jhf->hij", left, right)


def positions():
    return torch.randn(6, 3, generator=torch.Generator().manual_seed(2)) * 2


def exact(spectrum, pos):
    delta = pos[:, None] - pos[None]
    return spectrum.kernel(delta.view(-1, 3)).view(-1, len(pos), len(pos))


@pytest.mark.parametrize("kind", ["free", "radial"])
@pytest.mark.parametrize("sampling", ["independent", "orthogonal", "sobol"])
def test_mean_over_draws_is_the_closed_form(kind, sampling):
    draws = 400  # heads draw independently: one object holds as many draws as heads
    spectrum = spectra(draws)[kind]
    rpe = FourierRPE(spectrum, 64, WIDTH, sampling, seed=3)
    with torch.no_grad():
        estimates = gram(rpe, positions())
    expected = exact(spectrum, positions())[0]
    error = estimates.mean(0) - expected
    standard_error = estimates.std(0) / draws**0.5
    # 36 entries: a deviation of 4.5 standard errors has probability 2e-4
    assert (error.abs() < 4.5 * standard_error + 1e-12).all()


def root_mean_square_error(kind, sampling, num_frequencies, draws=200):
    spectrum = spectra(draws)[kind]
    rpe = FourierRPE(spectrum, num_frequencies, WIDTH, sampling, seed=4)
    with torch.no_grad():
        error = gram(rpe, positions()) - exact(spectrum, positions())
    return float(error.square().mean().sqrt())


@pytest.mark.parametrize("kind", ["free", "radial"])
def test_error_falls_as_the_inverse_root_of_frequencies(kind):
    sizes = [16, 32, 64, 128, 256]
    errors = [root_mean_square_error(kind, "independent", r) for r in sizes]
    assert -0.6 < log_slope(sizes, errors) < -0.4


@pytest.mark.parametrize("kind", ["free", "radial"])
@pytest.mark.parametrize("num_frequencies", [64, 256])
def test_sobol_error_is_below_independent(kind, num_frequencies):
    sobol = root_mean_square_error(kind, "sobol", num_frequencies)
    plain = root_mean_square_error(kind, "independent", num_frequencies)
    assert sobol < 0.8 * plain


def test_blobs_wider_than_the_proposal_have_growing_variance():
    """Negative test: beyond s^2 = 2 sigma_p^2 the variance is infinite."""

    def spread(width, draws=200):
        spectrum = GaussianMixture(draws, 1, max_width=1.0)
        with torch.no_grad():
            spectrum.weights.fill_(1.0)
            spectrum.centres.zero_()
            spectrum.width_logit.fill_(float(torch.logit(torch.tensor(width))))
        rpe = FourierRPE(spectrum, 1024, WIDTH, "independent")
        estimate = gram(rpe, torch.zeros(1, 3)).detach().flatten()
        return float(estimate.std())

    narrow, wide = spread(0.9 * WIDTH), spread(2.0 * WIDTH)
    assert wide > 20 * narrow


def test_gram_is_translation_invariant():
    rpe = FourierRPE(spectra(2)["free"], 16, WIDTH)
    moved = positions() + torch.tensor([5.0, -3.0, 8.0])
    torch.testing.assert_close(
        gram(rpe, positions()), gram(rpe, moved), rtol=0, atol=1e-10
    )


def test_plain_frequencies_break_the_wrapping_law():
    """Negative test: only lattice frequencies are periodic, so these are not."""
    rpe = FourierRPE(spectra(2)["free"], 16, WIDTH)
    wrapped = positions()
    wrapped[0] += torch.tensor([6.0, 0.0, 0.0])  # a lattice vector of a 6 Å cell
    assert (gram(rpe, positions()) - gram(rpe, wrapped)).abs().max() > 1e-2


def test_gradient_of_features_is_bounded_where_the_density_changes_sign():
    def gradient(excess):
        spectrum = GaussianMixture(1, 2, max_width=WIDTH)
        with torch.no_grad():
            spectrum.weights.copy_(torch.tensor([[1.0, -1.0 + excess]]))
            spectrum.centres.zero_()
            spectrum.width_logit.zero_()
        left, _ = FourierRPE(spectrum, 16, WIDTH)(positions())
        return torch.autograd.grad(left.sum(), spectrum.weights)[0].abs().max()

    assert gradient(1e-14) < 2 * gradient(1e-6)


def test_sign_split_represents_negative_encodings():
    spectrum = spectra(100)["radial"]
    with torch.no_grad():
        spectrum.coefficients.copy_(-spectrum.coefficients.abs())
    rpe = FourierRPE(spectrum, 256, WIDTH)
    diagonal = gram(rpe, positions()).mean(0).diagonal()
    assert (diagonal < 0).all()
    assert (exact(spectrum, positions())[0].diagonal() < 0).all()


@pytest.mark.parametrize("kind", ["free", "radial"])
def test_gram_is_linear_in_the_weights_and_has_a_gradient(kind):
    """The product form of the all-zero initialisation has neither (method trap)."""
    spectrum = spectra(2)[kind]
    rpe = FourierRPE(spectrum, 16, WIDTH)
    before = gram(rpe, positions())
    weight = spectrum.weights if kind == "free" else spectrum.coefficients
    (gradient,) = torch.autograd.grad(before.sum(), weight)
    assert gradient.abs().min() > 0
    assert torch.isfinite(gradient).all()
    with torch.no_grad():
        weight.mul_(3.0)
    torch.testing.assert_close(gram(rpe, positions()), 3 * before)


def test_gradient_is_finite_where_the_density_vanishes():
    spectrum = spectra(1)["free"]
    with torch.no_grad():
        spectrum.weights.zero_()
    rpe = FourierRPE(spectrum, 8, WIDTH)
    for gradient in torch.autograd.grad(
        gram(rpe, positions()).sum(), list(spectrum.parameters())
    ):
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("sampling", ["independent", "orthogonal", "sobol"])
def test_samples_follow_the_proposal(sampling):
    generator = torch.Generator().manual_seed(0)
    xi = draw_frequencies(64, 96, WIDTH, sampling, generator)
    flat = xi.view(-1, 3)
    assert float(flat.mean().abs()) < 3 * WIDTH / len(flat) ** 0.5
    torch.testing.assert_close(
        flat.T @ flat / len(flat), WIDTH**2 * torch.eye(3), rtol=0.05, atol=5e-4
    )


def test_orthogonal_blocks_are_orthogonal():
    xi = draw_frequencies(2, 9, 1.0, "orthogonal", torch.Generator().manual_seed(0))
    blocks = xi.view(2, 3, 3, 3)
    products = blocks @ blocks.transpose(-1, -2)
    off = products - torch.diag_embed(products.diagonal(dim1=-2, dim2=-1))
    assert off.abs().max() < 1e-12


def test_gaussian_density_integrates_to_one():
    axis = torch.linspace(-1, 1, 81)
    xi = torch.cartesian_prod(axis, axis, axis)
    total = gaussian_density(xi, WIDTH).sum() * (axis[1] - axis[0]) ** 3
    assert float(total) == pytest.approx(1.0, rel=1e-9)


def test_unknown_sampling_is_refused():
    # With shapes and types checked at run time the annotation refuses it first.
    with pytest.raises((ValueError, TypeCheckError), match="sampling"):
        draw_frequencies(1, 4, 1.0, "halton", torch.Generator())
