import numpy as np
import pytest

from molflt.analysis.kernels import head_kernels
from molflt.analysis.plots import kernel_figure, parity_figure
from molflt.model import FLTEncoder

R = np.linspace(0.0, 8.0, 41)


def test_near_heads_end_at_the_cutoff_and_far_heads_do_not():
    encoder = FLTEncoder(
        width=16, num_layers=2, num_near_heads=3, num_far_heads=2, cutoff=4.0
    )
    groups = head_kernels(encoder, R)
    assert list(groups) == [
        f"layer {layer}, {group}" for layer in (1, 2) for group in ("near", "far")
    ]
    near, far = groups["layer 1, near"], groups["layer 1, far"]
    assert near.shape == (3, 41)
    assert far.shape == (2, 41)
    assert not near[:, R >= 4.0].any()
    assert near[:, (R > 0.5) & (R < 3.5)].any()
    assert np.abs(far[:, R > 4.0]).max() > 0


@pytest.mark.parametrize("spectrum", ["radial", "free"])
def test_additive_heads(spectrum):
    encoder = FLTEncoder(
        width=16,
        num_layers=1,
        form="additive",
        num_near_heads=0,
        num_far_heads=2,
        spectrum=spectrum,
    )
    (values,) = head_kernels(encoder, R).values()
    assert values.shape == (2, 41)
    assert np.isfinite(values).all()


def test_figures_hold_one_panel_a_group():
    groups = {name: np.random.default_rng(0).normal(size=(2, 41)) for name in "abc"}
    figure = kernel_figure(R, groups)
    assert [ax.get_title() for ax in figure.axes[:3]] == list("abc")
    labels = np.array([0.0, 1.0])
    figure = parity_figure({"val_id": (labels, labels + 0.5)})
    assert figure.axes[0].get_title() == "val_id\nMAE 0.500 eV"
