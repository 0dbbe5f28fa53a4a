"""Atoms and attention as an interactive figure in three dimensions, with plotly."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from ase.data import chemical_symbols, covalent_radii
from ase.data.colors import jmol_colors
from numpy.typing import ArrayLike, NDArray
from plotly.colors import get_colorscale

from molflt.analysis.attention import AttentionRows
from molflt.analysis.bonds import bonds
from molflt.files import atomic_path

Array = NDArray[np.float64]

ARROWS = 8  # strongest atoms that get an arrow
HIDDEN = dict.fromkeys(("showgrid", "zeroline", "showbackground"), False)


def attention_scene(
    numbers: ArrayLike,
    positions: ArrayLike,
    rows: Sequence[AttentionRows],
    atom: int,
    cell: ArrayLike | None = None,
    pbc: ArrayLike = False,
    title: str = "",
) -> go.Figure:
    """Draw a structure with the attention of one atom, a slider over layers and heads.

    Colours are shares |a_ij| / sum_j |a_ij|, row-normalised (of `additive` models the
    attention itself); arrows come from the atoms that are read most. Hovering shows
    the weight with its sign. Axes are in Å.

    Args:
        numbers: Atomic numbers (n,).
        positions: Positions (n, 3) [Å].
        rows: What `attention_rows` returned, `atom` among its atoms.
        atom: The atom i that reads.
        cell: Lattice vectors as rows (3, 3) [Å], drawn where `pbc` is true somewhere.
        pbc: Periodic directions.
        title: Written above.

    Raises:
        ValueError: `rows` are not of this structure or lack the atom.
    """
    z, places = np.asarray(numbers), np.asarray(positions, dtype=np.float64)
    views = []
    for layer in rows:
        at = np.flatnonzero(layer.atoms == atom)
        if not len(at) or layer.weights.shape[2] != len(z):
            raise ValueError(f"rows must be of this structure and hold atom {atom}")
        for head, name in enumerate(layer.heads):
            label = f"layer {layer.layer + 1}, {name}"
            views.append((label, layer.shares[head, at[0]], layer.weights[head, at[0]]))
    symbols = [chemical_symbols[each] for each in z]
    fixed = [_lines(places, *bonds(z, places)), _box(cell, pbc)]
    figure = go.Figure(data=[*fixed, *_view(places, z, symbols, atom, *views[0][1:])])
    moving = [len(fixed), len(fixed) + 1]
    figure.frames = [
        go.Frame(
            name=label,
            data=_view(places, z, symbols, atom, share, weight),
            traces=moving,
        )
        for label, share, weight in views
    ]
    steps = [
        {
            "label": label,
            "method": "animate",
            "args": [[label], {"mode": "immediate", "frame": {"duration": 0}}],
        }
        for label, *_ in views
    ]
    axes = {
        f"{name}axis": {"title": {"text": f"{name} [Å]"}, **HIDDEN} for name in "xyz"
    }
    figure.update_layout(
        title={"text": title},
        scene={**axes, "aspectmode": "data"},
        sliders=[{"steps": steps, "currentvalue": {"prefix": "Shown: "}}],
        margin={"l": 0, "r": 0, "t": 40, "b": 0},
        legend={"orientation": "h", "y": 1.0},
    )
    return figure


def save_scene(figure: go.Figure, path: str | Path) -> None:
    """Write a figure as one HTML file that needs no network, whole or not at all.

    Args:
        figure: The figure.
        path: The file; plotly.js, some 5 MB, is part of it.

    Raises:
        InputError: The file cannot be written.
    """
    page = figure.to_html(include_plotlyjs=True, full_html=True)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _view(
    places: Array,
    z: NDArray[np.int64],
    symbols: Sequence[str],
    atom: int,
    share: Array,
    weight: Array,
) -> list[go.Scatter3d]:
    text = [
        f"{symbol}{index}: share {part:.3f}, weight {value:.3g}"
        for index, (symbol, part, value) in enumerate(
            zip(symbols, share, weight, strict=True)
        )
    ]
    atoms = go.Scatter3d(
        x=places[:, 0],
        y=places[:, 1],
        z=places[:, 2],
        mode="markers",
        name="atoms",
        hovertext=text,
        hoverinfo="text",
        marker={
            "size": 14 * covalent_radii[z] + 4,
            "color": share,
            "cmin": 0.0,
            "cmax": float(share.max(initial=0.0)) or 1.0,
            "colorscale": get_colorscale("Blues"),
            "colorbar": {"title": {"text": "share of attention"}, "thickness": 12},
            "line": {"color": [_colour(each) for each in z], "width": 3},
            "opacity": 1.0,
        },
    )
    strongest = [int(j) for j in np.argsort(-share)[:ARROWS] if j != atom and share[j]]
    start, end = places[strongest], places[[atom] * len(strongest)]
    arrows = _segments(start, end)
    lines = go.Scatter3d(
        **dict(zip("xyz", arrows.T, strict=True)),
        mode="lines",
        name=f"most read by {symbols[atom]}{atom}",
        line={"color": "#D55E00", "width": 4},
        hoverinfo="skip",
    )
    return [atoms, lines]


def _segments(start: Array, end: Array) -> Array:
    """Return lines with two barbs at their end, separated by NaN."""
    if not len(start):
        return np.full((1, 3), np.nan)
    along = end - start
    length = np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    unit = along / length
    tip = end - 0.35 * unit  # in front of the atom, not within
    helper = np.eye(3)[np.abs(unit).argmin(axis=1)]
    side = np.cross(unit, helper)
    gap = np.full_like(start, np.nan)
    barbs = [tip - 0.4 * unit + sign * 0.2 * side for sign in (1, -1)]
    return np.stack([start, tip, barbs[0], tip, barbs[1], gap], axis=1).reshape(-1, 3)


def _lines(places: Array, first: ArrayLike, second: ArrayLike) -> go.Scatter3d:
    first, second = np.asarray(first), np.asarray(second)
    gap = np.full((len(first), 3), np.nan)
    points = np.stack([places[first], places[second], gap], axis=1).reshape(-1, 3)
    return go.Scatter3d(
        **dict(zip("xyz", points.T, strict=True)),
        mode="lines",
        name="bonds",
        line={"color": "#999999", "width": 5},
        hoverinfo="skip",
    )


def _box(cell: ArrayLike | None, pbc: ArrayLike) -> go.Scatter3d:
    """Return the edges of the cell, if there is a periodic direction."""
    points = np.full((1, 3), np.nan)
    if cell is not None and np.any(pbc):
        vectors = np.asarray(cell, dtype=np.float64).reshape(3, 3)
        corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
        edges = [
            [corner @ vectors, (corner + unit) @ vectors, [np.nan] * 3]
            for corner in corners
            for unit in np.eye(3, dtype=int)
            if not (corner & unit).any()
        ]
        points = np.array(edges).reshape(-1, 3)
    return go.Scatter3d(
        **dict(zip("xyz", points.T, strict=True)),
        mode="lines",
        name="cell",
        line={"color": "#333333", "width": 2},
        hoverinfo="skip",
    )


def _colour(z: int) -> str:
    return "rgb({:.0f}, {:.0f}, {:.0f})".format(*(255 * jmol_colors[z]))
