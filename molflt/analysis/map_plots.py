"""Arrays of two dimensions as images: attention maps and slices of kernels."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from molflt.analysis.style import DIVERGING, SEQUENTIAL, styled

MOST_NAMED = 24  # atoms; with more, names on the axes would be too small to read


def attention_map(
    ax: Axes,
    weights: ArrayLike,
    title: str = "",
    label: str | None = None,
    names: Sequence[str] | None = None,
) -> Axes:
    """Draw a_ij of all atoms i (rows) and j (columns); weights are dimensionless.

    Weights of both signs get a scale with white at zero.

    Args:
        ax: Where to draw.
        weights: a_ij of one head (m, n): of `AttentionRows.weights` or `shares`.
        title: Written above.
        label: Of the colour bar; None: "share of attention", or "attention weight"
            where one is negative.
        names: Of the n atoms, as "C0"; on the axes where there are few.

    Raises:
        ValueError: Not an array of two dimensions.
    """
    values = np.asarray(weights, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(f"weights must have shape (m, n), received {values.shape}")
    with styled():
        _image(
            ax,
            values,
            label_of(values) if label is None else label,
            (-0.5, values.shape[1] - 0.5, values.shape[0] - 0.5, -0.5),
        )
        ax.set(title=title, xlabel="atom j that is read", ylabel="atom i that reads")
        ax.locator_params(nbins=6, integer=True)
        if names is not None and len(names) <= MOST_NAMED:
            ax.set_xticks(range(len(names)), names, rotation=90)
            if values.shape[0] == len(names):
                ax.set_yticks(range(len(names)), names)
    return ax


def label_of(weights: np.ndarray) -> str:
    """Return what weights are called if nobody says: shares are never negative."""
    return "attention weight" if (weights < 0).any() else "share of attention"


def kernel_slice(
    ax: Axes,
    axis: ArrayLike,
    values: ArrayLike,
    plane: str = "xy",
    title: str = "",
    shortest: float = 0.7,
) -> Axes:
    """Draw f_h on a plane of displacements, divided by its largest |f| there.

    Displacements shorter than `shortest` do not occur and do not set the scale.

    Args:
        ax: Where to draw.
        axis: Components along either direction (p,) [Å].
        values: f_h of one head (p, p), of `HeadSlices.f`.
        plane: The two directions, "xy", "xz" or "yz".
        title: Written above.
        shortest: Distance [Å].
    """
    axis, values = np.asarray(axis), np.asarray(values, dtype=np.float64)
    apart = np.hypot(axis, axis[:, None]) >= shortest
    scale = np.abs(values[apart]).max(initial=0.0) or 1.0
    with styled():
        ends = (axis[0], axis[-1], axis[0], axis[-1])
        _image(ax, values / scale, "f(Δ) / max |f|", ends, largest=1.0, signed=True)
        ax.set(title=title, xlabel=f"Δ{plane[0]} [Å]", ylabel=f"Δ{plane[1]} [Å]")
        ax.locator_params(nbins=5)
    return ax


def _image(
    ax: Axes,
    values: np.ndarray,
    label: str,
    extent: tuple[float, float, float, float],
    largest: float | None = None,
    signed: bool = False,
) -> None:
    end = largest or float(np.abs(values).max(initial=0.0)) or 1.0
    signed = signed or bool((values < 0).any())
    image = ax.imshow(
        values,
        cmap=DIVERGING if signed else SEQUENTIAL,
        vmin=-end * signed,
        vmax=end,
        extent=extent,
        origin="upper" if extent[2] > extent[3] else "lower",
        interpolation="nearest",
        aspect="equal",
    )
    # Inside the axes' own box, whose height follows from equal scales.
    bar = ax.figure.colorbar(image, cax=ax.inset_axes((1.04, 0.0, 0.05, 1.0)))
    bar.set_label(label)
    bar.outline.set_linewidth(0.5)
