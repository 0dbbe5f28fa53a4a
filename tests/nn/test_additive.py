"""The paper's form: softmax and FAVOR+ against their twins."""

import pytest
import torch

from molflt.errors import UsageError
from molflt.nn import reference
from molflt.nn.additive import AdditiveAttention
from molflt.nn.spectra.fourier_rpe import FourierRPE
from molflt.nn.spectra.shells import RadialShells
from molflt.nn.spectra.spectrum import GaussianMixture, RadialGaussianMixture

from .conftest import (
    assert_same_gradients,
    inputs_of,
    make_geometry,
    open_structures,
    per_graph,
    periodic_structures,
)


def attention(spectrum="radial", estimator="softmax", heads=2, **options):
    if spectrum == "free":
        density = GaussianMixture(heads, 4, max_width=0.1)
    else:
        density = RadialGaussianMixture(heads, RadialShells(4, 0.8, 0.12))
    rpe = FourierRPE(density, options.pop("num_frequencies", 16), 0.1)
    return AdditiveAttention(8, rpe, estimator, **options)


def batch(structures):
    pos = make_geometry(structures)[1].requires_grad_(True)
    geometry, _ = make_geometry(structures, pos=pos)
    return geometry, pos, torch.randn(len(pos), 8, requires_grad=True)


@pytest.mark.parametrize("spectrum", ["radial", "free"])
def test_softmax_equals_slow_twin_on_open_systems(spectrum):
    structures = open_structures()
    geometry, pos, x = batch(structures)
    module = attention(spectrum)
    fast = (module(x, geometry),)
    slow = per_graph(
        geometry,
        pos,
        structures,
        lambda mine, places, images: (
            reference.additive_attention(module, x[mine], places, images),
        ),
    )
    torch.testing.assert_close(fast[0], slow[0], rtol=1e-10, atol=1e-12)
    assert_same_gradients(fast, slow, inputs_of(module, x, pos))


def test_softmax_sums_the_encoding_over_images():
    structures = periodic_structures()
    geometry, pos, x = batch(structures)
    module = attention("radial")
    fast = module(x, geometry)
    (slow,) = per_graph(
        geometry,
        pos,
        structures,
        lambda mine, places, images: (
            reference.additive_attention(module, x[mine], places, images),
        ),
    )
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("spectrum", ["radial", "free"])
def test_favor_equals_the_same_features_multiplied_out(spectrum):
    structures = open_structures()
    geometry, pos, x = batch(structures)
    module = attention(spectrum, "favor", num_features=24)
    fast = (module(x, geometry),)
    slow = per_graph(
        geometry,
        pos,
        structures,
        lambda mine, places, images: (
            reference.favor_attention(module, x[mine], places),
        ),
    )
    torch.testing.assert_close(fast[0], slow[0], rtol=1e-9, atol=1e-11)
    assert_same_gradients(fast, slow, inputs_of(module, x, pos), rtol=1e-7)


def test_favor_approaches_the_softmax_of_its_encoding():
    """With many features it is near the softmax of the same N; the rate: test_favor."""
    structures = open_structures()[:1]
    geometry, _, x = batch(structures)
    module = attention("radial", "favor", num_features=8192)
    with torch.no_grad():
        module.rpe.spectrum.coefficients.mul_(0.3)
        q, k, v = module.split(x)
        left, right = module.rpe(geometry.centred)
        n = torch.einsum("ihf,jhf->hij", left, right)
        logits = torch.einsum("ihd,jhd->hij", q, k) + n
        exact = torch.einsum("hij,jhd->ihd", logits.softmax(-1), v).flatten(1)
        error = (module(x, geometry) - module.mix(exact)).square().mean().sqrt()
    assert float(error) < 0.03


def test_another_graph_and_padding_leave_favor_features_alone():
    module = attention("radial", "favor")
    water, ethanol = open_structures()[1], open_structures()[0]
    alone, _, x = batch([water])
    together, _, _ = batch([ethanol, water])
    other = 50 * torch.randn(len(ethanol), 8)  # exponents far beyond water's own
    expected = module(x, alone)
    actual = module(torch.cat([other, x]), together)[len(ethanol) :]
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)


def test_large_logits_stay_finite_in_float32():
    torch.set_default_dtype(torch.float32)
    module = attention("radial", "favor")
    geometry, pos = make_geometry(open_structures())
    geometry.dtype = torch.float32
    out = module(100 * torch.randn(len(pos), 8), geometry)
    assert torch.isfinite(out).all()


def test_periodic_favor_is_refused():
    geometry, _, x = batch(periodic_structures())
    with pytest.raises(UsageError, match="favor"):
        attention("radial", "favor")(x, geometry)


def test_periodic_free_spectrum_is_refused():
    geometry, _, x = batch(periodic_structures())
    with pytest.raises(UsageError, match="RadialGaussianMixture"):
        attention("free")(x, geometry)
