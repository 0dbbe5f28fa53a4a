"""What a scene has beside the atoms: bonds, the cell, arrows from the atoms read."""

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

from molflt.analysis.images import nearest
from molflt.analysis.style import OKABE_ITO

Array = NDArray[np.float64]

ARROWS = 8  # strongest atoms that get an arrow


def arrow_lines(
    places: Array, radii: Array, starts: Array, share: Array, atom: int
) -> go.Scatter3d:
    """Return lines with barbs to an atom; a ring where one starts at an image."""
    order = [int(j) for j in np.argsort(-share, kind="stable") if share[j] > 0]
    strongest = [j for j in order if np.any(starts[j] != places[atom])][:ARROWS]
    start, end = starts[strongest], places[[atom] * len(strongest)]
    lines = np.full((1, 3), np.nan)
    rings = np.zeros(1)
    if strongest:
        along = end - start
        length = np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
        unit = along / length
        tip = end - radii[atom] * unit
        side = np.cross(unit, np.eye(3)[np.abs(unit).argmin(axis=1)])
        barbs = [tip - 0.3 * unit + sign * 0.15 * side for sign in (1, -1)]
        gap = np.full_like(start, np.nan)
        lines = np.stack([start, tip, barbs[0], tip, barbs[1], gap], axis=1)
        lines = lines.reshape(-1, 3)
        image = np.any(starts[strongest] != places[strongest], axis=1)
        rings = np.zeros((len(strongest), 6))
        rings[:, 0] = 9 * image
    orange = OKABE_ITO["vermillion"]
    return go.Scatter3d(
        **dict(zip("xyz", lines.T, strict=True)),
        mode="lines+markers",
        line={"color": orange, "width": 4},
        marker={
            "size": rings.ravel(),
            "color": orange,
            "symbol": "circle-open",
            "opacity": 1.0,
        },
        hoverinfo="skip",
    )


def nearest_images(
    places: Array, atom: int, box: Array | None, periodic: NDArray[np.bool_]
) -> Array:
    """Return for each atom its periodic image that is nearest to `atom` (n, 3)."""
    if box is None or not periodic.any():
        return places
    apart = places - places[atom]
    short = nearest(apart, box, periodic)
    # Of equally near images the one that is drawn.
    moved = np.linalg.norm(short, axis=1) < np.linalg.norm(apart, axis=1) - 1e-6
    return np.where(moved[:, None], places[atom] + short, places)


def cell_edges(box: Array | None, periodic: NDArray[np.bool_], places: Array) -> Array:
    """Return the edges of the cell, as tall as the atoms in open directions."""
    if box is None or not periodic.any() or abs(np.linalg.det(box)) < 1e-9:
        return np.full((1, 3), np.nan)
    fraction = places @ np.linalg.inv(box)
    low = np.where(periodic, 0.0, fraction.min(axis=0))
    high = np.where(periodic, 1.0, fraction.max(axis=0))
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    ends = [
        [corner, corner + unit]
        for corner in corners
        for unit in np.eye(3, dtype=int)
        if not (corner & unit).any()
    ]
    edges = (low + np.array(ends) * (high - low)) @ box  # (12, 2, 3)
    gap = np.full((len(edges), 1, 3), np.nan)
    return np.concatenate([edges, gap], axis=1).reshape(-1, 3)


def segments(places: Array, first: ArrayLike, second: ArrayLike) -> Array:
    """Return lines from `first` to `second` atoms, separated by NaN (3 k, 3)."""
    one, two = places[np.asarray(first)], places[np.asarray(second)]
    return np.stack([one, two, np.full_like(one, np.nan)], axis=1).reshape(-1, 3)


def line_trace(name: str, points: Array, colour: str, width: int) -> go.Scatter3d:
    """Return lines that are not in the legend and do not answer to the pointer."""
    return go.Scatter3d(
        **dict(zip("xyz", points.T, strict=True)),
        mode="lines",
        name=name,
        line={"color": colour, "width": width},
        hoverinfo="skip",
        showlegend=False,
    )
