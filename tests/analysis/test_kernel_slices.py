import numpy as np
import pytest
import torch

from molflt.analysis import head_densities, head_kernels, head_slices
from molflt.errors import UsageError

from .conftest import build_model


def test_radial_slices_are_the_kernels():
    model = build_model()
    slices = head_slices(model, "xz", offset=0.4, num_points=11)
    assert [(s.layer, s.group) for s in slices] == [
        (0, "near"), (0, "far"), (1, "near"), (1, "far")
    ]  # fmt: skip
    for one in slices:
        r = np.sqrt(one.axis[:, None] ** 2 + one.axis**2 + 0.16)
        kernels = [
            k for k in head_kernels(model, r.ravel())
            if (k.layer, k.group) == (one.layer, one.group)
        ]  # fmt: skip
        np.testing.assert_allclose(
            one.f, kernels[0].f.reshape(one.f.shape), rtol=1e-9, atol=1e-12
        )
    assert head_slices(model)[0].axis[-1] == 5.0  # the cutoff


@pytest.mark.parametrize(("plane", "letters"), [("xy", (0, 1)), ("yz", (1, 2))])
def test_free_slices_are_the_spectrum_in_that_plane(plane, letters):
    model = build_model(form="additive", spectrum="free")
    one = head_slices(model, plane, extent=3.0, num_points=7, offset=-1.0)[1]
    spectrum = model.encoder.layers[1].attention.heads.rpe.spectrum
    delta = torch.full((1, 3), -1.0, dtype=torch.float64)
    delta[0, letters[0]], delta[0, letters[1]] = one.axis[5], one.axis[1]
    np.testing.assert_allclose(one.f[:, 1, 5], spectrum.kernel(delta).detach()[:, 0])
    assert not np.allclose(one.f[:, 1, 5], one.f[:, 5, 5])  # a direction matters


@pytest.mark.parametrize("options", [{}, {"form": "additive", "spectrum": "free"}])
def test_the_grid_resolves_the_waves(options):
    """A wave of the highest frequency has two points; none is finer than asked for."""
    model = build_model(**options)
    for num_points in (11, 51):
        for one, densities in zip(
            head_slices(model, num_points=num_points),
            head_densities(model, num_points=2),
            strict=True,
        ):
            step = one.axis[1] - one.axis[0]
            assert step * densities.q[-1] <= 0.5 + 1e-9
    given = head_slices(model, extent=90.0, num_points=11)
    assert {one.axis[-1] for one in given} == {90.0}


def test_planes_that_do_not_exist():
    with pytest.raises(UsageError, match="'xy', 'xz' or 'yz'"):
        head_slices(build_model(), "zx")
