"""Plots that take arrays and return the axes they drew on."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from molflt.analysis.kernels import HeadKernels
from molflt.analysis.style import COLOURS, DASHES, DOUBLE, panels, styled
from molflt.targets import ENERGY_THRESHOLD

SHORTEST = 0.7  # Å; atoms do not come closer (H2: 0.74 Å)


def parity(
    ax: Axes,
    labels: ArrayLike,
    predictions: ArrayLike,
    title: str = "",
    unit: str = "eV",
    quantity: str = "energy",
) -> Axes:
    """Draw predictions against labels; MAE and, in eV, EwT stand in the legend.

    EwT is the share of errors below 0.02 eV. A small MAE has three digits that count.

    Args:
        ax: Where to draw.
        labels: Labels (n,).
        predictions: Predictions (n,).
        title: Written above, for example the split.
        unit: Of both.
        quantity: What they are.

    Raises:
        ValueError: Arrays of different lengths, empty, or with what is no number.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape or labels.ndim != 1 or len(labels) == 0:
        raise ValueError(
            "labels and predictions must be two lists of one length, received shapes "
            f"{labels.shape} and {predictions.shape}"
        )
    error = np.abs(predictions - labels)
    lost = int((~np.isfinite(error)).sum())
    if lost:
        raise ValueError(
            f"labels and predictions must be finite, {lost} of {len(labels)} pairs are "
            "not"
        )
    mean = float(error.mean())
    text = f"MAE {mean:{'#.3g' if 0 < mean < 0.1 else '.3f'}} {unit}"
    if unit == "eV":
        text += f"\nEwT {100 * (error < ENERGY_THRESHOLD).mean():.1f} %"
    both = np.concatenate([labels, predictions])
    margin = 0.04 * (np.ptp(both) or 1.0)
    limits = both.min() - margin, both.max() + margin
    crowded = len(labels) > 300
    with styled():
        ax.axline((0, 0), slope=1, color="0.6", linewidth=0.8, zorder=0, label="y = x")
        ax.scatter(
            labels,
            predictions,
            s=7 if crowded else 12,
            color=COLOURS[0],
            alpha=0.4 if crowded else 0.7,
            linewidths=0,
            rasterized=len(labels) > 2000,  # a PDF of 25,000 circles is slow to open
            label=text,
        )
        ax.set(xlim=limits, ylim=limits, title=title)
        ax.set_xlabel(f"{quantity} [{unit}]")
        ax.set_ylabel(f"predicted [{unit}]")
        ax.set_aspect("equal", adjustable="box")
        ax.locator_params(nbins=5)  # the same ticks on both axes
        ax.legend(loc="upper left", frameon=True, edgecolor="none", borderpad=0.1)
    return ax


def kernels(
    ax: Axes,
    r: ArrayLike,
    values: ArrayLike,
    title: str = "",
    labels: Sequence[str] | None = None,
    dashed: bool = False,
) -> Axes:
    """Draw f_h(r) of some heads, each divided by its largest |f| at r >= 0.7 Å.

    What a head sends also depends on its queries, keys and values, so that the size of
    f means nothing by itself; its shape does. Shorter distances do not occur.

    Args:
        ax: Where to draw.
        r: Distances (p,) [Å].
        values: f_h(r), (h, p).
        title: Written above.
        labels: Of the heads; None: head 1, head 2, ...
        dashed: Draw dashed lines: for far heads. Beyond eight heads colours come again,
            dotted.
    """
    r, values = np.asarray(r), np.atleast_2d(values)
    seen = r >= SHORTEST
    scale = np.abs(values[:, seen]).max(axis=1, initial=0.0)
    with styled():
        scaled = values[:, seen] / np.where(scale > 0, scale, 1.0)[:, None]
        _curves(ax, r[seen], scaled, labels, dashed)
        ax.set(xlim=(0, np.ceil(r.max())), ylim=(-1.08, 1.08), title=title)
        ax.locator_params(axis="x", nbins=6, integer=True)
        ax.set_xlabel("distance r [Å]")
        ax.set_ylabel("f(r) / max |f|")
    return ax


def kernel_figure(kernels_of_heads: Sequence[HeadKernels]) -> Figure:
    """Draw f_h(r) of all heads: a row a layer, near heads solid, far heads dashed.

    Args:
        kernels_of_heads: What `molflt.analysis.head_kernels` returns.
    """
    groups = sorted({k.group for k in kernels_of_heads}, reverse=True)  # near, far
    count = len(kernels_of_heads)
    width = DOUBLE if len(groups) > 1 else DOUBLE / 2
    figure, axes = panels(count, len(groups), width, height=1.9)
    for ax, heads in zip(axes, kernels_of_heads, strict=True):
        kernels(
            ax,
            heads.r,
            heads.f,
            f"layer {heads.layer + 1}, {heads.group} heads",
            [f"{heads.group} {k + 1}" for k in range(len(heads.f))],
            dashed=heads.group == "far",
        )
    return figure


def densities(
    ax: Axes,
    q: ArrayLike,
    values: ArrayLike,
    title: str = "",
    labels: Sequence[str] | None = None,
    dashed: bool = False,
) -> Axes:
    """Draw 4 pi q^2 g_h(q): how much of f_h(0) lies between q and q + dq.

    Args:
        ax: Where to draw.
        q: Frequencies (p,) [cycles/Å].
        values: g_h(q), (h, p) [Å^3].
        title: Written above.
        labels: Of the heads; None: head 1, head 2, ...
        dashed: Draw dashed lines: for far heads.
    """
    q, values = np.asarray(q), np.atleast_2d(values)
    with styled():
        _curves(ax, q, 4 * np.pi * q**2 * values, labels, dashed)
        ax.margins(x=0)
        ax.set(title=title, xlabel="frequency q [cycles/Å]")
        ax.set_ylabel("4π q² g(q) [Å]")
    return ax


def _curves(
    ax: Axes,
    x: NDArray[np.float64],
    values: NDArray[np.float64],
    labels: Sequence[str] | None,
    dashed: bool,
) -> None:
    """Draw a curve a head, with a legend beside the axes."""
    names = labels or [f"head {k + 1}" for k in range(len(values))]
    lines = DASHES[2:] if dashed else DASHES[:2]
    ax.axhline(0.0, color="0.7", linewidth=0.7, zorder=0)
    for number, (curve, name) in enumerate(zip(values, names, strict=True)):
        ax.plot(
            x,
            curve,
            color=COLOURS[number % len(COLOURS)],
            linestyle=lines[number // len(COLOURS) % 2],
            label=name,
        )
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def learning_curve(
    ax: Axes,
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    title: str = "",
    unit: str = "eV",
    quantity: str = "MAE",
) -> Axes:
    """Draw an error against optimiser steps, on a logarithmic scale.

    A curve of more than 100 points, such as the error of single batches, is drawn pale,
    with its mean over 40 stretches.

    Args:
        ax: Where to draw.
        curves: Steps (p,) and values (p,) by name: from
            `molflt.analysis.read_metrics`.
        title: Written above.
        unit: Of the values; "": none.
        quantity: What they are.
    """
    short = {name: name.split("/")[0] for name in curves}
    unique = len(set(short.values())) == len(short)
    with styled():
        for number, (name, (steps, values)) in enumerate(curves.items()):
            colour = COLOURS[number % len(COLOURS)]
            steps, values = np.asarray(steps), np.asarray(values)
            known = np.isfinite(values)  # a batch may have no labels of a target
            steps, values = steps[known], values[known]
            marker = "o" if len(steps) <= 12 else ""
            if len(steps) > 100:
                ax.plot(steps, values, color=colour, alpha=0.25, linewidth=0.6)
                steps, values = _stretches(steps), _stretches(values)
            label = short[name] if unique else name
            ax.plot(steps, values, marker=marker, ms=3, color=colour, label=label)
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.locator_params(axis="x", nbins=5)
        ax.set(title=title, xlabel="optimiser step")
        ax.set_xlim(left=0)
        ax.set_ylabel(f"{quantity} [{unit}]" if unit else quantity)
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def _stretches(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([part.mean() for part in np.array_split(values, 40)])
