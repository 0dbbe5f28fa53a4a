"""Plots that take arrays and return the axes they drew on."""

import numpy as np
from matplotlib.axes import Axes


def parity(
    ax: Axes,
    labels: np.ndarray,
    predictions: np.ndarray,
    title: str = "",
    unit: str = "eV",
) -> Axes:
    """Draw predictions against labels, with the diagonal and the MAE.

    Args:
        ax: Where to draw.
        labels: Labels (n,).
        predictions: Predictions (n,).
        title: Written above, before the MAE.
        unit: Of both.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    low = float(min(labels.min(), predictions.min()))
    high = float(max(labels.max(), predictions.max()))
    ax.plot([low, high], [low, high], color="0.7", linewidth=1, zorder=0)
    ax.scatter(labels, predictions, s=6, alpha=0.5, linewidths=0)
    mae = float(np.abs(predictions - labels).mean())
    ax.set_title(f"{title}\nMAE {mae:.3f} {unit}".strip(), fontsize=9)
    ax.set_xlabel(f"label [{unit}]")
    ax.set_ylabel(f"prediction [{unit}]")
    ax.set_aspect("equal", adjustable="box")
    return ax


def kernels(ax: Axes, r: np.ndarray, values: np.ndarray, title: str = "") -> Axes:
    """Draw f_h(r) of the heads of one group, each scaled to its largest value.

    Args:
        ax: Where to draw.
        r: Distances (p,) [Å].
        values: f_h(r), (heads, p).
        title: Written above.
    """
    scale = np.abs(values).max(axis=1, keepdims=True)
    ax.plot(r, (values / np.where(scale > 0, scale, 1.0)).T, linewidth=1)
    ax.axhline(0.0, color="0.7", linewidth=0.8, zorder=0)
    ax.set_title(title, fontsize=9)
    ax.set_xlabel("r [Å]")
    ax.set_ylabel("f(r), scaled")
    return ax
