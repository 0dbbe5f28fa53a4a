"""Box, triangle and ball: pairs of transforms, laws and what has no derivative."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from molflt import testing as laws
from molflt.errors import UsageError
from molflt.nn import FLTAttention
from molflt.nn.spectra.local import Ball, Box, Triangle, step
from tests.builders import energy_model, energy_of, molecules
from tests.nn.conftest import make_geometry, periodic_structures

from .known_kernels import (
    assert_gradients_at_zero_are_finite,
    assert_model_learns_a_step_and_returns,
    assert_own_density_is_the_density,
    without_gradient,
)

SPECTRA = {"box": Box, "triangle": Triangle, "ball": Ball}
each = pytest.mark.parametrize("build", SPECTRA.values(), ids=SPECTRA)


@pytest.mark.parametrize("build", [Box, Triangle])
def test_density_is_the_product_of_transforms(build):
    """The weight times Int f_j(x) cos(2 pi xi_j x) dx of each direction."""
    spectrum = build(2, length=2.0)
    with torch.no_grad():
        spectrum.log_length.add_(0.3 * torch.randn(2, 3))
    xi = torch.tensor([[0.0, 0.0, 0.0], [0.1, 0.0, -0.4], [0.3, 0.2, 0.7], [1e-9] * 3])
    got = spectrum.density(xi).detach()
    for head, k in itertools.product(range(2), range(len(xi))):
        expected = float(spectrum.weights[head].detach())
        for v, frequency in zip(
            spectrum.lengths[head].tolist(), xi[k].tolist(), strict=True
        ):

            def integrand(x, v=v, frequency=frequency):
                f = 1.0 if build is Box else v - abs(x)
                return 2 * f * math.cos(2 * math.pi * frequency * x)

            expected *= quad(integrand, 0, v, epsabs=1e-12)[0]
        assert float(got[head, k]) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_density_of_the_ball_is_its_radial_transform():
    spectrum = Ball(3, length=2.0)
    q = torch.tensor([0.0, 1e-7, 0.02, 0.079, 0.081, 0.4, 1.3])
    got = spectrum.radial_density(q).detach()
    for head, k in itertools.product(range(3), range(len(q))):
        radius, frequency = float(spectrum.lengths[head].detach()), float(q[k])
        expected, _ = quad(
            lambda r, frequency=frequency: r**2 * np.sinc(2 * frequency * r), 0, radius
        )
        expected *= 4 * math.pi * float(spectrum.coefficients[head].detach())
        assert float(got[head, k]) == pytest.approx(expected, rel=1e-7, abs=1e-9)


def test_kernels_are_what_they_are_called():
    delta = torch.tensor([[0.0, 0, 0], [1.9, -1.9, 1.9], [2.1, 0, 0], [1.2, -1.2, 0]])
    for spectrum, expected in (
        (Box(1, length=2.0), [1, 1, 0, 1]),
        (Ball(1, length=2.0), [1, 0, 0, 1]),
        (Triangle(1, length=2.0), [1, 0.05**3, 0, 0.4**2]),
    ):
        f = spectrum.kernel(delta)[0] / spectrum.coefficients
        torch.testing.assert_close(f, torch.tensor(expected, dtype=f.dtype))
    assert step(torch.tensor([-1.0, 0.0, 2.0])).tolist() == [0, 1, 1]


@each
def test_directions_matter_to_box_and_triangle_alone(build):
    spectrum, direction = build(2, length=2.0), torch.ones(3) / 3**0.5
    axis = torch.tensor([1.0, 0, 0])
    along = torch.stack([axis, direction])
    for f in (spectrum.kernel(1.9 * along), spectrum.density(0.3 * along)):
        same = torch.allclose(f[:, 0], f[:, 1], rtol=1e-9)
        assert same == spectrum.rotation_invariant == (build is Ball)
    assert_own_density_is_the_density(spectrum)


@each
def test_gradients_at_zero(build):
    assert_gradients_at_zero_are_finite(build(2))


@each
def test_gradients_at_initialisation(build):
    """Every parameter has one of g; lengths have one of f if f is continuous."""
    spectrum = build(4)
    assert without_gradient(spectrum, spectrum.density, 0.1) == []
    jumps = [] if build is Triangle else ["log_length"]
    assert without_gradient(spectrum, spectrum.kernel, 2.0) == jumps


@each
def test_kernels_have_ended_at_their_reach(build):
    spectrum = build(1)
    ends = 1.001 * spectrum.reach * spectrum.lengths.detach().max()
    unit = torch.nn.functional.normalize(torch.randn(500, 3), dim=1)
    assert not spectrum.kernel(ends * unit).any()


@each
@pytest.mark.parametrize("option", ["length", "scale"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_sizes_out_of_range_are_refused(build, option, value):
    with pytest.raises(ValueError, match=option):
        build(2, **{option: value})


@each
def test_no_random_features_have_finite_variance(build):
    assert not build(2, length=100.0).finite_variance(1.0)
    name = build.__name__.lower()
    with pytest.raises(ValueError, match=r"Features of .* no finite variance"):
        FLTAttention(16, "additive", vector_width=0, spectrum=name, estimator="favor")


@pytest.mark.parametrize(
    ("build", "least", "most"),
    [(Box, 1.03, 1.2), (Triangle, 1.0, 1.005), (Ball, 1.9, 2.1)],
)
def test_densities_of_jumps_are_not_absolutely_integrable(build, least, most):
    """Int |g| grows as the logarithm (box, each direction) or as q: no mean exists."""

    def mass(cut):
        spectrum = build(1, length=1.0)
        axis = torch.linspace(0, cut, 200 * int(cut) + 1)
        measure = 4 * math.pi * axis**2 if build is Ball else 1
        xi = torch.stack([axis, 0 * axis, 0 * axis], dim=1)
        g = spectrum.density(xi)[0].detach() / spectrum.weights.detach()
        return float(torch.trapezoid(measure * g.abs(), axis))

    assert least < mass(80.0) / mass(40.0) < most


@pytest.mark.parametrize("name", SPECTRA)
def test_models_learn_a_step_and_return(name, tmp_path):
    assert_model_learns_a_step_and_returns(name, tmp_path)


@pytest.mark.parametrize("name", SPECTRA)
def test_models_depend_on_orientation_as_their_spectrum_does(name):
    options = {"form": "additive", "spectrum": name}
    energy = energy_of(energy_model(options, dtype=torch.float64))
    error = laws.rotation_error(energy, molecules()[0])
    assert (error < 1e-10) if name == "ball" else (error > 1e-5)


@pytest.mark.parametrize("name", SPECTRA)
def test_periodic_systems_are_refused(name):
    attention = FLTAttention(16, "additive", vector_width=0, spectrum=name)
    geometry, pos = make_geometry(periodic_structures())
    with pytest.raises(UsageError, match="RadialGaussianMixture"):
        attention(torch.randn(len(pos), 16), None, geometry)
