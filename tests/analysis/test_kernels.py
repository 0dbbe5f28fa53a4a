import math

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid
from scipy.stats import special_ortho_group

from molflt.analysis import head_densities, head_kernels, radial_transform
from molflt.errors import UsageError

from .conftest import build_model


def groups(kernels):
    return [(kernel.layer, kernel.group) for kernel in kernels]


def test_transform_of_a_gaussian():
    """exp(-2 pi^2 s^2 r^2) has the normal density of width s as its transform."""
    s = np.array([0.05, 0.2, 0.7])[:, None]
    q = np.linspace(0, 2.0, 50)
    g = radial_transform(lambda r: np.exp(-2 * (math.pi * s * r) ** 2), 30.0, q)
    expected = (2 * math.pi * s**2) ** -1.5 * np.exp(-(q**2) / (2 * s**2))
    np.testing.assert_allclose(g, expected, rtol=1e-9, atol=1e-8)


def test_kernels_are_the_functions_the_layers_use():
    model = build_model(cutoff=4.0)
    kernels = head_kernels(model)
    assert groups(kernels) == [(0, "near"), (0, "far"), (1, "near"), (1, "far")]
    near, far = kernels[2:]
    heads = model.encoder.layers[1].attention.heads
    assert (near.f.shape, far.f.shape) == ((6, 400), (2, 400))
    assert near.r[-1] == 4.0
    assert not near.f[:, -1].any()
    r = torch.from_numpy(near.r)
    np.testing.assert_allclose(near.f, heads.near.kernel.radial(r).detach().numpy())
    r = torch.from_numpy(far.r)
    np.testing.assert_allclose(far.f, heads.far.mixture.radial(r).detach()[:2].numpy())
    # the far heads' extent is where they have ended
    assert np.abs(far.f[:, -1]).max() < 1e-3 * np.abs(far.f).max()


def test_own_distances():
    kernels = head_kernels(build_model(), [1.0, 2.0, 9.0])
    assert all(kernel.f.shape[1] == 3 for kernel in kernels)
    assert not kernels[0].f[:, 2].any()  # beyond the near heads' cutoff
    assert kernels[1].f[:, 2].any()


@pytest.mark.parametrize("evaluate", [head_kernels, head_densities])
def test_points_that_are_no_distances_or_frequencies(evaluate):
    model = build_model()
    with pytest.raises(UsageError, match=r"must be one list, received shape \(2, 2\)"):
        evaluate(model, np.ones((2, 2)))
    for wrong in (-0.5, math.nan, math.inf):
        with pytest.raises(UsageError, match=f"at least 0, received {wrong}"):
            evaluate(model, [1.0, wrong])


def test_transforms_at_what_is_no_frequency():
    with pytest.raises(UsageError, match="q must be finite and at least 0"):
        radial_transform(np.exp, 1.0, [-1.0])


@pytest.mark.parametrize("group", ["near", "far"])
def test_densities_transform_into_the_kernels(group):
    """f(r) = Int 4 pi q^2 g(q) sin(2 pi q r) / (2 pi q r) dq, back by quadrature."""
    model = build_model(cutoff=5.0)
    reach = 8.0 if group == "near" else 0.8  # cycles/Å that hold all of g
    q = np.linspace(0, reach, 6001)
    density = [d for d in head_densities(model, q) if d.group == group][1]
    r = np.array([0.3, 1.0, 2.0, 3.5, 4.5])
    kernel = [k for k in head_kernels(model, r) if k.group == group][1]
    waves = 4 * math.pi * q**2 * np.sinc(2 * np.outer(r, q))
    back = trapezoid(density.g[:, None] * waves, q, axis=-1)
    np.testing.assert_allclose(back, kernel.f, atol=2e-3 * np.abs(kernel.f).max())


def test_near_density_tends_to_the_mixture_without_cutoff():
    """With a cutoff far beyond the shells' reach, the cutoff changes nothing."""
    model = build_model(cutoff=1e4, num_far_heads=0)
    shells = model.encoder.near_shells
    with torch.no_grad():
        shells.width_logit.fill_(20.0)  # the widest shells, f ends within 1.5 Å
    q = np.linspace(0, 3.0, 40)
    mixture = model.encoder.layers[0].attention.heads.near.kernel.mixture
    xi = torch.tensor(np.stack([q, 0 * q, 0 * q], axis=1))
    expected = mixture.density(xi)[:6].detach().numpy()

    def f(r):
        return mixture.radial(torch.from_numpy(r)).detach().numpy()[:6]

    got = radial_transform(f, 8.0, q, band=3.0)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-9)
    near = model.encoder.layers[0].attention.heads.near.kernel
    with_cutoff = radial_transform(
        lambda r: near.radial(torch.from_numpy(r)).detach().numpy(), 8.0, q, band=3.0
    )
    np.testing.assert_allclose(with_cutoff, expected, rtol=1e-6, atol=1e-9)


def test_far_densities_integrate_to_the_kernel_at_zero():
    model = build_model()
    density = next(d for d in head_densities(model) if d.group == "far")
    total = trapezoid(4 * math.pi * density.q**2 * density.g, density.q, axis=1)
    at_zero = next(k for k in head_kernels(model, [0.0]) if k.group == "far").f[:, 0]
    np.testing.assert_allclose(total, at_zero, rtol=1e-3)


def test_additive_models_have_far_heads_alone():
    kernels = head_kernels(build_model(form="additive"))
    assert groups(kernels) == [(0, "far"), (1, "far")]
    assert kernels[0].f.shape[0] == 8


def test_free_spectra_are_averaged_over_directions():
    model = build_model(form="additive", spectrum="free")
    spectrum = model.encoder.layers[1].attention.heads.rpe.spectrum
    unit = special_ortho_group.rvs(3, size=400, random_state=0)[:, 0]  # directions
    for points, curves, evaluate in (
        ([0.0, 0.7, 3.0], head_kernels(model, [0.0, 0.7, 3.0])[1].f, spectrum.kernel),
        (
            [0.0, 0.1, 0.3],
            head_densities(model, [0.0, 0.1, 0.3])[1].g,
            spectrum.density,
        ),
    ):
        for k, point in enumerate(points):
            values = evaluate(torch.from_numpy(point * unit)).detach().numpy()
            spread = 4 * values.std(axis=1) / 20  # of a mean of 400
            assert (np.abs(values.mean(axis=1) - curves[:, k]) <= spread + 1e-9).all()


def test_the_error_of_the_transform_is_stated():
    near, far = head_densities(build_model())[:2]
    scale = np.abs(near.g).max()
    assert far.error == 0.0
    assert 0.0 < near.error < 1e-6 * scale
    # Half as many nodes as the frequencies need: the difference is no rounding.
    kernel = build_model().encoder.layers[0].attention.heads.near.kernel

    def f(r):
        return kernel.radial(torch.from_numpy(r)).detach().numpy()

    q = np.linspace(0, 30.0, 9)
    coarse = radial_transform(f, 5.0, q)
    fine = radial_transform(f, 5.0, q, band=3.0, refinement=2)
    np.testing.assert_allclose(coarse, fine, atol=1e-4 * scale)


@pytest.mark.parametrize("name", ["gaussian", "laplace", "matern", "ball"])
def test_kernels_of_the_distance_are_what_they_are(name):
    model = build_model(form="additive", spectrum=name)
    spectrum = model.encoder.layers[1].attention.heads.rpe.spectrum
    kernel, density = head_kernels(model)[1], head_densities(model)[1]
    r, q = torch.from_numpy(kernel.r), torch.from_numpy(density.q)
    np.testing.assert_allclose(kernel.f, spectrum.radial(r).detach())
    np.testing.assert_allclose(density.g, spectrum.radial_density(q).detach())
    assert np.abs(kernel.f[:, -1]).max() < 1e-5 * np.abs(kernel.f).max()
    assert density.error == 0.0


@pytest.mark.parametrize("name", ["box", "triangle"])
def test_kernels_along_axes_are_averaged_over_directions(name):
    model = build_model(form="additive", spectrum=name)
    spectrum = model.encoder.layers[1].attention.heads.rpe.spectrum
    unit = np.random.default_rng(0).normal(size=(40000, 3))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    for points, curves, evaluate in (
        ([0.0, 0.7, 3.9], head_kernels(model, [0.0, 0.7, 3.9])[1].f, spectrum.kernel),
        (
            [0.0, 0.1, 0.3],
            head_densities(model, [0.0, 0.1, 0.3])[1].g,
            spectrum.density,
        ),
    ):
        for k, point in enumerate(points):
            values = evaluate(torch.from_numpy(point * unit)).detach().numpy()
            spread = 5 * values.std(axis=1) / 200 + 5e-3 * np.abs(curves[:, 0])
            assert (np.abs(values.mean(axis=1) - curves[:, k]) <= spread).all()
    density = head_densities(model)[1]
    assert density.error < 1e-9 * np.abs(density.g).max()
