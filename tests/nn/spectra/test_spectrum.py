import math

import pytest
import torch

from molflt.nn.spectra.kernel_spectrum import RadialKernelSpectrum
from molflt.nn.spectra.shells import RadialShells
from molflt.nn.spectra.spectrum import GaussianMixture, RadialGaussianMixture


def radial():
    return RadialGaussianMixture(2, RadialShells(6, 0.4, 0.03))


def free():
    spectrum = GaussianMixture(2, 6, max_width=0.08)
    with torch.no_grad():
        spectrum.width_logit.abs_()  # 0.04 at least: the quadrature grid resolves it
    return spectrum


@pytest.mark.parametrize("build", [radial, free])
def test_kernel_is_the_transform_of_the_density(build):
    spectrum = build()
    step = 0.02
    axis = torch.arange(-0.72, 0.72 + step / 2, step)
    xi = torch.cartesian_prod(axis, axis, axis)
    delta = torch.tensor([[0.0, 0.0, 0.0], [0.7, -1.2, 0.4], [3.0, 2.0, -1.0]])
    waves = torch.cos(2 * math.pi * xi @ delta.T)
    # The trapezoid rule converges exponentially for so smooth a density.
    expected = spectrum.density(xi) @ waves * step**3
    torch.testing.assert_close(spectrum.kernel(delta), expected, rtol=1e-4, atol=1e-5)


def test_radial_kernel_depends_on_the_distance_alone():
    spectrum = radial()
    delta = torch.randn(7, 3)
    turn = torch.linalg.qr(torch.randn(3, 3)).Q
    torch.testing.assert_close(spectrum.kernel(delta @ turn), spectrum.kernel(delta))


def test_free_kernel_has_directions():
    spectrum = free()
    delta = torch.tensor([[3.0, 0, 0], [0, 3.0, 0]])
    f = spectrum.kernel(delta)
    assert (f[:, 0] - f[:, 1]).abs().min() > 1e-4


def test_slope_is_the_gradient_of_the_kernel():
    spectrum = radial()
    delta = torch.randn(5, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(spectrum.kernel(delta)[1].sum(), delta)
    r = delta.norm(dim=1)
    torch.testing.assert_close(spectrum.slope(r)[1][:, None] * delta, gradient)


@pytest.mark.parametrize("build", [radial, free])
def test_gradients_at_zero_displacement_are_finite(build):
    spectrum = build()
    delta = torch.zeros(2, 3, requires_grad=True)
    gradients = torch.autograd.grad(
        spectrum.kernel(delta).sum(), [delta, *spectrum.parameters()], allow_unused=True
    )
    assert torch.equal(gradients[0], torch.zeros(2, 3))
    assert all(g is None or torch.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("build", [radial, free])
def test_every_parameter_has_a_gradient_at_initialisation(build):
    spectrum = build()
    loss = spectrum.kernel(torch.randn(20, 3)).square().sum()
    for gradient in torch.autograd.grad(loss, list(spectrum.parameters())):
        assert gradient.abs().max() > 0


def test_scale_sets_the_spread_of_the_encoding():
    spectrum = RadialGaussianMixture(500, RadialShells(16, 3.0, 0.02), scale=0.7)
    r = torch.linspace(0.5, 6, 64)
    assert float(spectrum.radial(r).detach().std()) == pytest.approx(0.7, rel=0.1)


def test_all_zero_weights_are_refused():
    with pytest.raises(ValueError, match="scale"):
        GaussianMixture(2, 4, scale=0.0)


def test_a_spectrum_has_a_shape_and_a_transform():
    class Without(RadialKernelSpectrum):
        pass

    with pytest.raises(TypeError, match="radial_shape, radial_transform"):
        Without(2)
