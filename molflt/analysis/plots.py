"""Plots that take arrays and return the axes they drew on."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure


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


def parity_figure(
    splits: Mapping[str, tuple[np.ndarray, np.ndarray]], unit: str = "eV"
) -> Figure:
    """Draw one parity plot a split.

    Args:
        splits: Labels and predictions by name.
        unit: Of all.
    """
    figure = Figure(figsize=(3.2 * len(splits), 3.4), layout="constrained")
    panels = figure.subplots(1, len(splits), squeeze=False)[0]
    for ax, (name, (labels, predictions)) in zip(panels, splits.items(), strict=True):
        parity(ax, labels, predictions, name, unit)
    return figure


def kernel_figure(r: np.ndarray, groups: Mapping[str, np.ndarray]) -> Figure:
    """Draw f(r) of every group of heads, two groups a row.

    Args:
        r: Distances (p,) [Å].
        groups: What `molflt.analysis.kernels.head_kernels` returns.
    """
    rows = -(-len(groups) // 2)
    figure = Figure(figsize=(7.0, 2.2 * rows), layout="constrained")
    panels = figure.subplots(rows, 2, squeeze=False).ravel()
    for ax, (name, values) in zip(panels, groups.items(), strict=False):
        kernels(ax, r, values, name)
    for ax in panels[len(groups) :]:
        ax.set_axis_off()
    return figure
