import re

import matplotlib
import numpy as np
import pytest
from ase.build import add_adsorbate, fcc111, molecule
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from molflt.analysis import (
    HeadDensities,
    HeadKernels,
    error_plots,
    map_plots,
    model_plots,
    plots,
)
from molflt.analysis.attention_plot import attention
from molflt.analysis.style import COLOURS, panels, save
from molflt.errors import InputError

RNG = np.random.default_rng(0)
R = np.linspace(0.0, 5.0, 51)
HEADS = np.exp(-R) * np.array([[2.0], [-40.0]])
SIGNATURES = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}


def slab():
    atoms = fcc111("Cu", (2, 2, 3), vacuum=5.0)
    add_adsorbate(atoms, molecule("CO"), 1.9, "ontop", mol_index=1)
    return atoms


def draw(ax, name):
    labels = RNG.normal(size=30)
    if name == "parity":
        return plots.parity(ax, labels, labels + 0.01)
    if name == "kernels":
        return plots.kernels(ax, R, HEADS)
    if name == "densities":
        return plots.densities(ax, R, HEADS)
    if name == "learning curve":
        return plots.learning_curve(ax, {"train/energy/mae_eV": ([1, 2], [0.5, 0.2])})
    if name == "attention map":
        names = ["C0", "H1", "H2", "O3"]
        return map_plots.attention_map(ax, RNG.normal(size=(4, 4)), names=names)
    if name == "slice":
        axis = np.linspace(-5, 5, 21)
        return map_plots.kernel_slice(ax, axis, RNG.normal(size=(21, 21)))
    if name == "contributions":
        return model_plots.contributions(ax, slab().numbers, RNG.normal(size=14))
    if name == "features":
        curves = {"layer 1": ([16, 64, 256], RNG.uniform(0.1, 0.2, (3, 5)))}
        return error_plots.feature_error(ax, curves)
    if name == "far heads":
        counts, errors = [141, 601, 2129], [1e-2, 1e-4, 1e-7]
        return error_plots.far_error(
            ax, {"layer 1": (counts, errors)}, (counts, [1.0, 1e-2, 1e-5])
        )
    if name == "rotation":
        errors = 1e-7 * RNG.normal(size=8)
        return error_plots.rotation_error(ax, errors, np.arange(8) % 2)
    if name == "species":
        z = np.arange(1, 17)
        return model_plots.species(ax, z, RNG.normal(size=(16, 2)), [0.4, 0.2])
    atoms = slab()
    weights = RNG.random(len(atoms))
    return attention(
        ax, atoms.numbers, atoms.positions, weights, 12, atoms.cell, atoms.pbc
    )


AXES = {
    "parity": ("energy [eV]", "predicted [eV]"),
    "kernels": ("distance r [Å]", "f(r) / max |f|"),
    "densities": ("frequency q [cycles/Å]", "4π q² g(q) [Å]"),
    "learning curve": ("optimiser step", "MAE [eV]"),
    "attention": ("x [Å]", "z [Å]"),
    "attention map": ("atom j that is read", "atom i that reads"),
    "slice": ("Δx [Å]", "Δy [Å]"),
    "contributions": ("element", "share of the energy [eV]"),
    "features": ("number of features m", "relative error of messages"),
    "far heads": ("number of frequencies G", "relative error of messages"),
    "rotation": ("random rotation, number", "error of the energy [eV]"),
    "species": ("component 1 (40 % of the variance)", "component 2 (20 %)"),
}
BARS = {
    "attention": "share of attention",
    "attention map": "attention weight",  # of both signs
    "slice": "f(Δ) / max |f|",
}
every = pytest.mark.parametrize("name", AXES)


@every
def test_axes_are_labelled_and_explained(name):
    _, (ax,) = panels(1)
    assert draw(ax, name) is ax
    assert (ax.get_xlabel(), ax.get_ylabel()) == AXES[name]
    if name in BARS:
        (bar,) = ax.child_axes
        assert bar.get_ylabel() == BARS[name]
    else:
        assert ax.get_legend().get_texts()


@every
def test_matplotlib_is_left_as_it_was(name):
    before = dict(matplotlib.rcParams)
    _, (ax,) = panels(1)
    draw(ax, name)
    assert dict(matplotlib.rcParams) == before


@every
def test_axes_of_others_can_be_drawn_on(name):
    figure = Figure()
    draw(figure.add_subplot(), name)
    figure.draw_without_rendering()


@every
@pytest.mark.parametrize("kind", SIGNATURES)
def test_pictures_are_written(name, kind, tmp_path):
    figure, (ax,) = panels(1)
    draw(ax, name)
    save(figure, tmp_path / f"picture.{kind}")
    (path,) = tmp_path.iterdir()
    assert path.read_bytes().startswith(SIGNATURES[kind])


def test_a_picture_needs_a_suffix(tmp_path):
    """Without one matplotlib would choose another name than that asked for."""
    figure, _ = panels(1)
    with pytest.raises(ValueError, match=r"end in .pdf, .svg or .png, received .*Fig"):
        save(figure, tmp_path / "Fig1")
    assert not list(tmp_path.iterdir())


def test_a_picture_that_cannot_be_written(tmp_path):
    figure, (ax,) = panels(1)
    draw(ax, "kernels")
    with pytest.raises(InputError, match="Cannot write"):
        save(figure, tmp_path / "absent" / "picture.png")
    with pytest.raises(ValueError, match="not supported"):
        save(figure, tmp_path / "picture.xyz")
    assert not list(tmp_path.iterdir())


@every
def test_no_text_overlaps(name):
    """Titles, labels, ticks and symbols of atoms stand apart."""
    figure, axes = panels(4, 2, 7.0, 2.8)
    for ax in axes:
        draw(ax, name).set_title("layer 1, near heads")
    FigureCanvasAgg(figure).draw()
    texts = []
    bars = [child for ax in axes for child in ax.child_axes]
    for ax in [*axes, *bars]:
        texts += [ax.title, ax.xaxis.label, ax.yaxis.label, *ax.texts]
        texts += [*_ticks(ax.xaxis), *_ticks(ax.yaxis)]
        texts += ax.get_legend().get_texts() if ax.get_legend() else []
    # of the text alone, without the line that leads from it to its point
    boxes = [Text.get_window_extent(text) for text in texts if text.get_text()]
    assert len(boxes) > 20
    for number, box in enumerate(boxes):
        assert figure.bbox.padded(1).containsx(box.x0)
        assert figure.bbox.padded(1).containsx(box.x1)
        assert figure.bbox.padded(1).containsy(box.y0)
        assert figure.bbox.padded(1).containsy(box.y1)
        assert not any(box.padded(-0.5).overlaps(other) for other in boxes[:number])


def _ticks(axis):
    low, high = sorted(axis.get_view_interval())
    return [
        tick.label1
        for tick in axis.get_major_ticks()
        if low <= tick.get_loc() <= high and tick.label1.get_visible()
    ] + [
        tick.label2
        for tick in axis.get_major_ticks()
        if low <= tick.get_loc() <= high and tick.label2.get_visible()
    ]


def test_parity_states_the_errors():
    _, (ax, other) = panels(2)
    labels = np.array([-1.0, 0.0, 2.0, 3.0])
    plots.parity(ax, labels, labels + np.array([0.01, -0.02, 0.1, 0]), "val_id")
    text = ax.get_legend().get_texts()[1].get_text()
    assert text == "MAE 0.0325 eV\nEwT 50.0 %"  # 0.02 eV is not within 0.02 eV
    assert ax.get_title() == "val_id"
    assert ax.get_aspect() == 1
    assert ax.get_xlim() == ax.get_ylim()
    assert list(ax.get_xticks()) == list(ax.get_yticks())
    plots.parity(other, labels, labels, unit="D", quantity="dipole")
    assert other.get_legend().get_texts()[1].get_text() == "MAE 0.000 D"
    plots.parity(other, labels, labels + 2.5e-6, unit="D")
    assert other.get_legend().get_texts()[-1].get_text() == "MAE 2.50e-06 D"
    with pytest.raises(ValueError, match="two lists of one length"):
        plots.parity(ax, labels, labels[:2])
    with pytest.raises(ValueError, match="must be finite, 1 of 2 pairs are not"):
        plots.parity(ax, [1.0, np.nan], [1.0, 2.0])


def test_one_point_is_a_picture_too():
    figure, (ax,) = panels(1)
    plots.parity(ax, [1.0], [1.0])
    figure.draw_without_rendering()


def test_kernels_are_scaled_where_atoms_are():
    figure = plots.kernel_figure(
        [HeadKernels(0, "near", R, HEADS), HeadKernels(0, "far", R, HEADS[:1])]
    )
    near, far = figure.axes
    assert near.get_title() == "layer 1, near heads"
    lines = near.get_legend().get_lines()
    assert [line.get_label() for line in lines] == ["near 1", "near 2"]
    for curve in (near.get_lines()[1], near.get_lines()[2], far.get_lines()[1]):
        assert curve.get_xdata().min() == pytest.approx(0.7)
        assert np.abs(curve.get_ydata()).max() == pytest.approx(1.0)
    assert near.get_lines()[1].get_linestyle() == "-"
    assert far.get_lines()[1].get_linestyle() == "--"


@pytest.mark.parametrize("dashed", [False, True])
def test_no_two_of_sixteen_heads_look_the_same(dashed, tmp_path):
    figure, (ax,) = panels(1)
    plots.kernels(ax, R, np.ones((16, 1)) * HEADS[:1], dashed=dashed)
    ax.get_legend().remove()
    save(figure, tmp_path / "heads.svg")
    text = (tmp_path / "heads.svg").read_text()
    curves = set(re.findall(r'style="(fill: none;[^"]*stroke-width: 1.2[^"]*)"', text))
    assert len(curves) == 16


def test_a_head_that_is_zero():
    _, (ax,) = panels(1)
    plots.kernels(ax, R, 0 * HEADS)
    assert not ax.get_lines()[1].get_ydata().any()


def test_densities_are_those_of_the_shell():
    _, (ax,) = panels(1)
    group = HeadDensities(0, "far", R, HEADS)
    plots.densities(ax, group.q, group.g, labels=["a", "b"], dashed=True)
    expected = 4 * np.pi * R**2 * HEADS[1]
    np.testing.assert_allclose(ax.get_lines()[2].get_ydata(), expected)
    assert ax.get_lines()[1].get_color() == COLOURS[0]


def test_attention_has_a_scale_for_either_sign():
    atoms = slab()
    _, axes = panels(3)
    share = np.linspace(0, 0.5, len(atoms))
    limits = []
    for ax, weights, root in zip(
        axes, (share, share, share - 0.4), (False, True, False), strict=True
    ):
        attention(
            ax, atoms.numbers, atoms.positions, weights, 13, view="top", root=root
        )
        limits.append(ax.collections[0].get_clim())
    assert limits == [(0.0, 0.5), (0.0, 0.5), (-0.4, 0.4)]
    bars = [ax.child_axes[0].get_ylabel() for ax in axes]
    assert bars == ["share of attention", "share of attention", "attention weight"]
    colours = axes[2].collections[0].cmap(np.array([0.0, 1.0]))
    assert colours[0, 0] > colours[0, 2]  # orange and violet
    assert colours[1, 0] < colours[1, 2]
    with pytest.raises(ValueError, match="not negative"):
        attention(axes[0], atoms.numbers, atoms.positions, share - 1, 0, root=True)


def test_attention_is_drawn_on_the_nearest_images():
    atoms = slab()
    atoms.positions += 100 * atoms.cell[0] - 7 * atoms.cell[1]
    _, (ax,) = panels(1)
    weights = np.zeros(len(atoms))
    attention(ax, atoms.numbers, atoms.positions, weights, 0, atoms.cell, atoms.pbc)
    left, right = ax.get_xlim()
    assert right - left < 12


def test_attention_of_many_atoms_is_drawn_without_symbols():
    n = 400
    _, (ax,) = panels(1)
    attention(ax, np.full(n, 6), RNG.normal(size=(n, 3)) * 10, RNG.random(n), 0)
    assert not ax.texts


def test_attention_refuses_what_does_not_belong_together():
    atoms = slab()
    _, (ax,) = panels(1)
    with pytest.raises(ValueError, match="'top' or 'side'"):
        attention(ax, atoms.numbers, atoms.positions, atoms.numbers, 0, view="front")
    with pytest.raises(ValueError, match="2 weights do not belong together"):
        attention(ax, atoms.numbers, atoms.positions, [1.0, 2.0], 0)
    with pytest.raises(ValueError, match="index below 14, received 14"):
        attention(ax, atoms.numbers, atoms.positions, atoms.numbers, 14)


def test_the_last_atom_is_ringed_by_either_number():
    atoms = slab()
    _, axes = panels(2)
    for ax, number in zip(axes, (13, -1), strict=True):
        attention(ax, atoms.numbers, atoms.positions, np.ones(14), number)
    first, second = (ax.collections[0].get_linewidths() for ax in axes)
    assert sorted(first)[-2:] == [0.5, 2.0]
    np.testing.assert_array_equal(first, second)


def test_long_curves_are_averaged():
    steps = np.arange(400)
    _, (ax,) = panels(1)
    noisy = np.where(steps % 2, 1.0, 3.0)
    curves = {"train/e/mae_eV": (steps, noisy), "val_id/e/mae_eV": ([100], [0.3])}
    plots.learning_curve(ax, curves)
    raw, mean, _ = ax.get_lines()
    assert len(raw.get_xdata()) == 400
    np.testing.assert_allclose(mean.get_ydata(), 2.0)
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["train", "val_id"]


def test_contributions_need_an_atom_each():
    _, (ax,) = panels(1)
    with pytest.raises(ValueError, match="2 atomic numbers and 1 terms"):
        model_plots.contributions(ax, [1, 8], [0.1])
    model_plots.contributions(ax, [8, 1, 1], [-2.0, 1.0, 3.0], unit="meV")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["H", "O"]
    assert ax.get_ylabel() == "share of the energy [meV]"
    means = [line.get_segments()[0][0, 1] for line in ax.collections[1::2]]
    assert means == [2.0, -2.0]
