"""How pictures look: one place, no effect on anybody else's figures."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from molflt.files import atomic_path

SINGLE, DOUBLE = 3.4, 7.0
"""Widths of a figure [inches]: one or two columns of a journal."""

OKABE_ITO = {
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "black": "#000000",
    "yellow": "#F0E442",
}
"""Colour-blind readers tell them apart (Okabe and Ito, 2008); pale yellow is last."""

COLOURS = tuple(OKABE_ITO.values())
DASHES: tuple[Any, ...] = ("-", (0, (1, 1)), (0, (4, 1.5)), (0, (4, 1.5, 1, 1.5)))
"""Lines of the first and second eight near heads, then of far heads."""

SEQUENTIAL, DIVERGING = "Blues", "PuOr"
"""Colour maps for values from zero on, and for values of both signs."""

STYLE: dict[Any, Any] = {
    "axes.edgecolor": "0.3",
    "axes.labelsize": 8,
    "axes.linewidth": 0.7,
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 8,
    "figure.dpi": 120,
    "font.size": 8,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "lines.linewidth": 1.2,
    "pdf.fonttype": 42,  # fonts that journals accept: TrueType instead of Type 3
    "savefig.dpi": 300,
    "svg.fonttype": "none",  # text stays text
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in molflt's style; afterwards matplotlib's settings are as before."""
    with matplotlib.rc_context(STYLE):
        yield


def panels(
    number: int, columns: int = 1, width: float = SINGLE, height: float = 2.4
) -> tuple[Figure, list[Axes]]:
    """Return a figure without a window, and its axes.

    The figure belongs to nobody: it is shown by a notebook that returns it from a cell,
    written by `save`, and needs no closing.

    Args:
        number: Number of axes.
        columns: Axes side by side.
        width: Width of the figure [inches].
        height: Height of a row [inches].
    """
    rows = -(-number // columns)
    with styled():
        figure = Figure(figsize=(width, height * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for ax in axes[number:]:
        ax.remove()
    return figure, axes[:number]


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, PDF, SVG, as the suffix of `path` says; whole or not.

    Args:
        figure: The figure.
        path: The file.

    Raises:
        InputError: The file cannot be written.
        ValueError: There is no suffix, or matplotlib does not know it.
    """
    if not Path(path).suffix:  # matplotlib would write a file of another name
        raise ValueError(f"path must end in .pdf, .svg or .png, received {str(path)!r}")
    with styled(), atomic_path(path) as temporary:
        figure.savefig(temporary)
