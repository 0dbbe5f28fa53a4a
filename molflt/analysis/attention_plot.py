"""What an atom attends to, drawn on the structure."""

from typing import Literal

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.patches import Circle
from numpy.typing import ArrayLike, NDArray

from molflt.analysis.images import nearest
from molflt.analysis.map_plots import label_of
from molflt.analysis.style import DIVERGING, OKABE_ITO, SEQUENTIAL, styled

View = Literal["top", "side"]
Array = NDArray[np.float64]

SIZE = 0.85  # of a drawn atom, in covalent radii
MOST_SYMBOLS = 150  # atoms; with more, symbols would be too small to read


def attention(
    ax: Axes,
    numbers: ArrayLike,
    positions: ArrayLike,
    weights: ArrayLike,
    atom: int,
    cell: ArrayLike | None = None,
    pbc: ArrayLike = False,
    view: View = "side",
    title: str = "",
    label: str | None = None,
    largest: float | None = None,
    root: bool = False,
) -> Axes:
    """Draw atoms as circles, coloured by the weight with which `atom` reads them.

    Weights of both signs get a scale with white at zero. Periodic structures are drawn
    with `atom` in the middle; a weight that is a sum over images stands on the nearest.

    Args:
        ax: Where to draw.
        numbers: Atomic numbers (n,).
        positions: Positions (n, 3) [Å].
        weights: One row of `AttentionRows.weights` or `shares` (n,), or a mean of some.
        atom: The atom that attends; it is ringed.
        cell: Lattice vectors as rows (3, 3) [Å].
        pbc: Periodic directions.
        view: "top": along -z; "side": along y, z points up.
        title: Written above.
        label: Of the colour bar; None: "share of attention", or "attention weight"
            where one is negative.
        largest: End of the colour scale; None: the largest |weight|.
        root: Colours follow the root of the weights: for many small beside few large.

    Raises:
        ValueError: Arrays that do not belong together, no such atom, or an unknown
            view.
    """
    z, weights = np.asarray(numbers), np.asarray(weights, dtype=np.float64)
    places = np.asarray(positions, dtype=np.float64)
    if view not in ("top", "side"):
        raise ValueError(f"view must be 'top' or 'side', received {view!r}")
    if not len(z) == len(weights) == len(places):
        raise ValueError(
            f"{len(z)} atomic numbers, {len(places)} positions and {len(weights)} "
            "weights do not belong together"
        )
    if not -len(z) <= atom < len(z):
        raise ValueError(f"atom must be an index below {len(z)}, received {atom}")
    atom %= len(z)  # -1 is the last
    places = _centred(places, atom, cell, pbc)
    if view == "top":
        points, height = places[:, :2], places[:, 2]
    else:
        points, height = places[:, ::2], -places[:, 1]
    order = np.argsort(height, kind="stable")  # what is in front is drawn last
    radii = SIZE * covalent_radii[z]
    end = largest or float(np.abs(weights).max()) or 1.0
    signed = bool((weights < 0).any())
    if signed and root:
        raise ValueError("root=True needs weights that are not negative")
    with styled():
        circles = PatchCollection(
            [Circle(tuple(points[k]), radii[k]) for k in order],
            cmap=DIVERGING if signed else SEQUENTIAL,
            norm=PowerNorm(0.5, 0, end) if root else Normalize(-end * signed, end),
            edgecolors=[OKABE_ITO["green"] if k == atom else "0.25" for k in order],
            linewidths=[2.0 if k == atom else 0.5 for k in order],
        )
        circles.set_array(weights[order])
        ax.add_collection(circles)
        colours = circles.to_rgba(weights)
        if len(z) <= MOST_SYMBOLS:
            for k in np.flatnonzero(_visible(points, height, radii)):
                _write_symbol(ax, points[k], chemical_symbols[z[k]], colours[k])
        outline = _outline(points, radii)
        low, high = outline.min(axis=0) - 0.3, outline.max(axis=0) + 0.3
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), title=title)
        ax.set_aspect("equal")
        ax.set_xlabel("x [Å]")
        ax.set_ylabel("y [Å]" if view == "top" else "z [Å]")
        # Inside the axes' own box, whose height follows from equal scales.
        bar = ax.figure.colorbar(circles, cax=ax.inset_axes((1.03, 0.1, 0.04, 0.8)))
        bar.set_label(label_of(weights) if label is None else label)
        bar.outline.set_linewidth(0.5)
    return ax


def _centred(
    positions: Array, atom: int, cell: ArrayLike | None, pbc: ArrayLike
) -> Array:
    periodic = np.broadcast_to(np.asarray(pbc, dtype=bool), 3)
    if cell is None or not periodic.any():
        return positions
    box = np.asarray(cell, dtype=np.float64).reshape(3, 3)
    # Slightly off the atom: rounding must not choose between images equally far.
    middle = positions[atom] + np.array([1e-3, 7e-4, 0.0])
    return np.asarray(middle + nearest(positions - middle, box, periodic))


def _visible(points: Array, height: Array, radii: Array) -> NDArray[np.bool_]:
    """Whether the middle of each circle, where its symbol stands, is in sight."""
    distance = np.linalg.norm(points[:, None] - points, axis=-1)
    covers = (height > height[:, None]) & (distance < radii + 0.45)
    return ~covers.any(axis=1)


def _write_symbol(ax: Axes, point: Array, symbol: str, colour: Array) -> None:
    bright = float(np.dot(colour[:3], [0.299, 0.587, 0.114])) > 0.5
    ink = "0.1" if bright else "white"
    x, y = point
    ax.text(x, y, symbol, color=ink, fontsize=6, ha="center", va="center")


def _outline(points: Array, radii: Array) -> Array:
    return np.concatenate([points - radii[:, None], points + radii[:, None]])
