"""Atoms and attention as an interactive figure in three dimensions, with plotly."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from ase.data import chemical_symbols, covalent_radii
from ase.data.colors import jmol_colors
from numpy.typing import ArrayLike, NDArray
from plotly.colors import get_colorscale

from molflt.analysis.attention import AttentionRows
from molflt.analysis.bonds import bonds
from molflt.analysis.scene_lines import (
    ARROWS,
    arrow_lines,
    cell_edges,
    line_trace,
    nearest_images,
    segments,
)
from molflt.analysis.spheres import sphere_mesh
from molflt.analysis.style import SEQUENTIAL

Array = NDArray[np.float64]

SHADING = {"ambient": 0.75, "diffuse": 0.45, "specular": 0.05, "roughness": 0.9}
LIGHT = {"x": -4e4, "y": 1e5, "z": -6e4}  # above a shoulder: right, up, away
OFF = ("showgrid", "zeroline", "showbackground", "showspikes")
AXIS = {**dict.fromkeys(OFF, False), "nticks": 5}
ZOOM = 1.3
SHARES, READ, ELEMENTS = 2, 3, 4  # traces that a slider or a button changes
BY_SHARE = {
    "name": "atoms",
    "hovertemplate": "%{text}: share %{intensity:.3f}, weight %{customdata:.3g}"
    "<extra></extra>",
    "cmin": 0.0,
    "colorscale": get_colorscale(SEQUENTIAL),
    "colorbar": {
        "title": {"text": "share of attention", "side": "top"},
        "orientation": "h",
        "thickness": 10,
        "len": 0.6,
        "y": 0.0,
        "yanchor": "bottom",
    },
}
BY_ELEMENT = {
    "name": "elements",
    "visible": False,
    "hovertemplate": "%{text}<extra></extra>",
}


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
    attention itself); arrows come from the atoms that are read most, or from their
    nearest periodic image. Hovering shows the weight with its sign. Axes are in Å. In
    a page of `save_scene` or `show_scene`, a click on an atom of `rows` shows its
    attention.

    Every weight of `rows` is in the figure: those of 500 atoms by 32 heads make a page
    of 56 MB. Of large structures give the rows of the atoms that matter.

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
    periodic = np.broadcast_to(np.asarray(pbc, dtype=bool), 3)
    box = None if cell is None else np.asarray(cell, dtype=np.float64).reshape(3, 3)
    atoms = np.asarray(rows[0].atoms)
    if atom not in atoms or any(layer.weights.shape[2] != len(z) for layer in rows):
        raise ValueError(f"rows must be of this structure and hold atom {atom}")
    labels = [
        f"layer {layer.layer + 1}, {name}" for layer in rows for name in layer.heads
    ]
    weights = np.concatenate([layer.weights for layer in rows])  # (views, m, n)
    names = [f"{chemical_symbols[each]}{index}" for index, each in enumerate(z)]
    radii = 0.5 * covalent_radii[z] + 0.12
    vertices, triangles, corners = sphere_mesh(places, radii)
    images = {int(i): nearest_images(places, int(i), box, periodic) for i in atoms}
    edges = cell_edges(box, periodic, places)
    mine = weights[:, int(np.flatnonzero(atoms == atom)[0])]
    ball = {
        **dict(zip("xyz", vertices.T.astype(np.float32), strict=True)),
        **dict(zip("ijk", triangles.T.astype(np.int32), strict=True)),
        "text": np.repeat(names, corners).tolist(),
        "lighting": SHADING,
        "lightposition": LIGHT,
        "showlegend": False,
    }
    colours = np.repeat([_colour(e) for e in z], corners).tolist()

    def view(row: Array) -> tuple[go.Mesh3d, go.Scatter3d]:
        share = np.abs(row) / (np.abs(row).sum() or 1.0)
        return (
            go.Mesh3d(
                intensity=np.repeat(share, corners).astype(np.float32),
                customdata=np.repeat(row, corners).astype(np.float32),
                cmax=float(share.max()) or 1.0,
            ),
            arrow_lines(places, radii, images[atom], share, atom),
        )

    first, arrows = view(mine[0])
    figure = go.Figure(
        [
            line_trace("bonds", segments(places, *bonds(z, places)), "#999999", 5),
            line_trace("cell", edges, "#333333", 2),
            go.Mesh3d(**ball, **BY_SHARE).update(first),
            arrows.update(name=f"most read by {names[atom]}", showlegend=True),
            go.Mesh3d(**ball, **BY_ELEMENT, vertexcolor=colours),
        ]
    )
    figure.frames = [
        go.Frame(name=label, data=list(view(row)), traces=[SHARES, READ])
        for label, row in zip(labels, mine, strict=True)
    ]
    figure.update_layout(
        title={"text": title},
        meta={
            "atom": int(atom),
            "atoms": atoms.tolist(),
            "names": names,
            "views": labels,
            "places": places.round(3).tolist(),
            "radii": radii.round(3).tolist(),
            "weights": _short(weights),
            "images": [_differing(places, images[int(i)]) for i in atoms],
            "corners": corners,
            "most": ARROWS,
        },
        **_layout(labels, _extent(weights, places, images, atoms, edges)),
    )
    return figure


def _extent(
    weights: Array,
    places: Array,
    images: dict[int, Array],
    atoms: NDArray[np.int64],
    edges: Array,
) -> Array:
    """Return ends of the axes (2, 3): atoms, cell and the start of every arrow."""
    most = min(ARROWS + 1, len(places))
    points = [places, edges[np.isfinite(edges).all(axis=1)]]
    for row, atom in enumerate(atoms):
        read = np.argpartition(-np.abs(weights[:, row]), most - 1, axis=1)[:, :most]
        points.append(images[int(atom)][np.unique(read)])
    every = np.concatenate(points)
    return np.stack([every.min(axis=0) - 1.0, every.max(axis=0) + 1.0])


def _layout(labels: Sequence[str], extent: Array) -> dict[str, object]:
    """Return axes in Å, the slider over views, and buttons for the colours."""
    return {
        "scene": _axes(extent),
        "sliders": [_slider(labels)],
        "updatemenus": [_buttons()],
        "margin": {"l": 10, "r": 10, "t": 70, "b": 10},
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom"},
    }


def _axes(extent: Array) -> dict[str, object]:
    axes = {
        f"{x}axis": {"title": {"text": f"{x} [Å]"}, "range": ends, **AXIS}
        for x, ends in zip("xyz", extent.T.round(2).tolist(), strict=True)
    }
    size = extent[1] - extent[0]
    size *= ZOOM / size.mean()
    return {
        **axes,
        "aspectmode": "manual",  # "data" would follow each change of the arrows
        "aspectratio": dict(zip("xyz", size.tolist(), strict=True)),
        "domain": {"y": [0.1, 1.0]},
        "camera": {
            "eye": {"x": 0.8, "y": -1.4, "z": 0.45},
            "projection": {"type": "orthographic"},
        },
    }


def _slider(labels: Sequence[str]) -> dict[str, object]:
    steps = [
        {
            "label": label,
            "method": "animate",
            "args": [[label], {"mode": "immediate", "frame": {"duration": 0}}],
        }
        for label in labels
    ]
    # The value stands above; a label at each step would overlap the next.
    return {
        "steps": steps,
        "currentvalue": {"prefix": "", "font": {"color": "#1d2733"}},
        "font": {"color": "rgba(0,0,0,0)"},
        "ticklen": 0,
        "minorticklen": 0,
        "pad": {"t": 0, "b": 0},
    }


def _buttons() -> dict[str, object]:
    shown = {"attention": [True, False], "elements": [False, True]}
    traces = [SHARES, ELEMENTS]
    return {
        "type": "buttons",
        "direction": "right",
        "buttons": [
            {"label": name, "method": "restyle", "args": [{"visible": flags}, traces]}
            for name, flags in shown.items()
        ],
        "x": 1.0,
        "xanchor": "right",
        "y": 1.0,
        "yanchor": "bottom",
    }


def _differing(places: Array, images: Array) -> dict[int, list[float]]:
    """Return where images stand, of those atoms that have a nearer one."""
    other = np.flatnonzero(np.any(images != places, axis=1))
    return {int(j): images[j].round(3).tolist() for j in other}


def _short(weights: Array) -> list[list[list[float]]]:
    """Return three digits of each weight: enough for colours, and a short page."""
    return [
        [[float(f"{value:.3g}") for value in row] for row in rows] for rows in weights
    ]


def _colour(z: int) -> str:
    return "rgb({:.0f}, {:.0f}, {:.0f})".format(*(255 * jmol_colors[z]))
