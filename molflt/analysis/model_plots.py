"""Pictures of what a model makes of atoms and of elements."""

import numpy as np
from ase.data import chemical_symbols
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.text import Annotation
from numpy.typing import ArrayLike, NDArray

from molflt.analysis.style import COLOURS, styled

LETTER, LINE = 5.6, 10.0  # width and height of a symbol at 7 points [points]


def contributions(
    ax: Axes,
    numbers: ArrayLike,
    terms: ArrayLike,
    title: str = "",
    unit: str = "eV",
    quantity: str = "energy",
) -> Axes:
    """Draw what each atom adds to a prediction, a column an element.

    Args:
        ax: Where to draw.
        numbers: Atomic numbers (n,).
        terms: Shares of the atoms (n,), of `Contributions.learned` or `terms`.
        title: Written above.
        unit: Of the shares.
        quantity: What they are shares of.

    Raises:
        ValueError: Arrays of different lengths.
    """
    z, terms = np.asarray(numbers), np.asarray(terms, dtype=np.float64)
    if z.shape != terms.shape:
        raise ValueError(
            f"{len(z)} atomic numbers and {len(terms)} terms do not belong together"
        )
    elements = np.unique(z)
    with styled():
        ax.axhline(0.0, color="0.7", linewidth=0.7, zorder=0)
        for column, element in enumerate(elements):
            mine = terms[z == element]
            spread = np.linspace(-0.3, 0.3, len(mine)) if len(mine) > 1 else [0.0]
            ax.scatter(
                column + np.asarray(spread),
                mine,
                s=9,
                alpha=0.6,
                linewidths=0,
                color=COLOURS[0],
                label="an atom" if column == 0 else "",
            )
            ax.hlines(
                mine.mean(),
                column - 0.38,
                column + 0.38,
                color=COLOURS[1],
                label="mean" if column == 0 else "",
            )
        ax.set_xticks(
            range(len(elements)), [chemical_symbols[element] for element in elements]
        )
        ax.set(title=title, xlabel="element", xlim=(-0.6, len(elements) - 0.4))
        ax.set_ylabel(f"share of the {quantity} [{unit}]")
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax


def species(
    ax: Axes,
    numbers: ArrayLike,
    places: ArrayLike,
    explained: ArrayLike,
    title: str = "",
) -> Axes:
    """Draw elements at the first two principal components of their embeddings.

    Symbols are moved apart where they would overlap; a line leads to the point.

    Args:
        ax: Where to draw.
        numbers: Atomic numbers (k,).
        places: Components (k, d), dimensionless, of `SpeciesMap.places`. Two elements
            have but one: they stand on a line.
        explained: Share of the variance along each.
        title: Written above.
    """
    z = np.asarray(numbers)
    # Along a component that there is not, nothing differs.
    places = np.pad(np.asarray(places), ((0, 0), (0, 1)))[:, :2]
    share = 100 * np.pad(np.asarray(explained), (0, 1))
    with styled():
        ax.plot(*places.T, "o", ms=3.5, color=COLOURS[0], label="element")
        ax.margins(0.12)
        ax.set_aspect("equal", adjustable="datalim")
        ax.locator_params(nbins=5)
        ax.set(title=title, xlabel=f"component 1 ({share[0]:.0f} % of the variance)")
        ax.set_ylabel(f"component 2 ({share[1]:.0f} %)")
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        labels = [
            ax.annotate(
                chemical_symbols[element],
                place,
                (0, 8),
                textcoords="offset points",
                fontsize=7,
                ha="center",
                va="center",
                arrowprops={"arrowstyle": "-", "lw": 0.4, "color": "0.6"},
            )
            for element, place in zip(z, places, strict=True)
        ]
        ax.add_artist(_Spread(labels))
    return ax


class _Spread(Artist):
    """Moves labels apart whenever the axes are drawn: only then is their size known."""

    def __init__(self, labels: list[Annotation]) -> None:
        super().__init__()
        self.set_zorder(-1)  # drawn, in this case run, before the labels
        self.set_in_layout(False)
        self._labels = labels

    def draw(self, renderer: RendererBase) -> None:
        """Place the labels."""
        assert self.axes is not None
        assert self.figure is not None
        scale = 72 / self.figure.dpi
        places = np.array([label.xy for label in self._labels])
        points = self.axes.transData.transform(places) * scale
        inside = self.axes.bbox.get_points() * scale
        for label, shift in zip(self._labels, _apart(points, inside), strict=True):
            label.xyann = shift
            if label.arrow_patch is not None:
                label.arrow_patch.set_visible(max(map(abs, shift)) > 12)


def _apart(
    points: NDArray[np.float64], inside: NDArray[np.float64]
) -> list[tuple[float, float]]:
    """Return where symbols go, relative to their points, without overlaps [points]."""
    box = np.array([2 * LETTER + 2, LINE])
    taken = [(point, np.full(2, 5.0)) for point in points]
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False) + np.pi / 2
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    shifts = []
    for point in points:
        options = np.concatenate([radius * circle for radius in np.arange(8, 120, 4)])
        corners = point + options
        fits = ((corners > inside[0] + box / 2) & (corners < inside[1] - box / 2)).all(
            1
        )
        for place, size in taken:
            fits &= (np.abs(corners - place) >= (box + size) / 2).any(axis=1)
        shift = options[int(np.argmax(fits))]  # the first, if none fits
        taken.append((point + shift, box))
        shifts.append((float(shift[0]), float(shift[1])))
    return shifts
