"""Maps of attention and slices of kernels have scales that say what is shown."""

import numpy as np
import pytest

from molflt.analysis import map_plots
from molflt.analysis.style import panels

RNG = np.random.default_rng(0)


def test_maps_have_a_scale_for_either_sign():
    _, axes = panels(2)
    map_plots.attention_map(axes[0], RNG.random((3, 30)), names=["H"] * 30)
    map_plots.attention_map(axes[1], RNG.random((3, 5)) - 0.5)
    low, high = axes[0].images[0].get_clim()
    assert (low, high > 0) == (0.0, True)
    low, high = axes[1].images[0].get_clim()
    assert low == -high
    bars = [ax.child_axes[0].get_ylabel() for ax in axes]
    assert bars == ["share of attention", "attention weight"]
    assert "H" not in [label.get_text() for label in axes[0].get_xticklabels()]
    with pytest.raises(ValueError, match=r"shape \(m, n\)"):
        map_plots.attention_map(axes[0], [1.0])


def test_slices_are_scaled_where_atoms_are():
    _, (ax,) = panels(1)
    axis = np.linspace(-2, 2, 5)
    values = np.hypot(axis, axis[:, None])
    values[2, 2] = 1e6  # at D = 0
    map_plots.kernel_slice(ax, axis, values)
    shown = ax.images[0].get_array()
    assert shown[0, 0] == pytest.approx(1.0)
    assert ax.images[0].get_clim() == (-1, 1)
