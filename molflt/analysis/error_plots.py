"""Pictures of errors: of random features, of Fourier sums, of turning a structure."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import ArrayLike

from molflt.analysis.style import COLOURS, styled


def feature_error(
    ax: Axes,
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    title: str = "",
) -> Axes:
    """Draw relative errors against numbers of features, with the slope of theory.

    Args:
        ax: Where to draw.
        curves: Numbers m (p,) and errors (p, draws), dimensionless, by name: of
            `FeatureErrors`. The band goes from the smallest to the largest draw.
        title: Written above.
    """
    with styled():
        for number, (name, (sizes, errors)) in enumerate(curves.items()):
            m, values = np.asarray(sizes), np.asarray(errors)
            colour = COLOURS[number % len(COLOURS)]
            low, high = values.min(axis=1), values.max(axis=1)
            ax.fill_between(m, low, high, color=colour, alpha=0.2, linewidth=0)
            ax.plot(m, values.mean(axis=1), "o-", ms=3, color=colour, label=name)
            if number == 0:
                line = values.mean(axis=1)[0] * np.sqrt(m[0] / m)
                ax.plot(m, line, ":", color="0.4", label="m^(−1/2)", zorder=0)
        ax.set(xscale="log", yscale="log", title=title)
        ax.set_xticks([], minor=True)
        if curves:
            sizes = np.asarray(next(iter(curves.values()))[0])
            ax.set_xticks(sizes, [str(size) for size in sizes])
        ax.set(xlabel="number of features m", ylabel="relative error of messages")
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax


def far_error(
    ax: Axes,
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]],
    promised: tuple[ArrayLike, ArrayLike] | None = None,
    title: str = "",
) -> Axes:
    """Draw relative errors of far heads against the number of their frequencies.

    Args:
        ax: Where to draw.
        curves: Numbers of frequencies (p,) and errors (p,), dimensionless, by name: of
            `FarErrors`.
        promised: The same of what the tolerance promises, as a dotted line.
        title: Written above.
    """
    with styled():
        for number, (name, (counts, errors)) in enumerate(curves.items()):
            colour = COLOURS[number % len(COLOURS)]
            ax.plot(counts, errors, "o-", ms=3, color=colour, label=name)
        if promised is not None:
            ax.plot(*promised, ":", color="0.4", label="promised", zorder=0)
        ax.set(xscale="log", yscale="log", title=title)
        # 1, 2, 5, 10, ...: the numbers span little more than one power of ten.
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter("{x:,.0f}")
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.set(xlabel="number of frequencies G", ylabel="relative error of messages")
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax


def rotation_error(
    ax: Axes,
    errors: ArrayLike,
    reflected: ArrayLike,
    title: str = "",
    unit: str = "eV",
    quantity: str = "energy",
) -> Axes:
    """Draw how far predictions for a turned structure are from that for itself.

    Args:
        ax: Where to draw.
        errors: Differences (k,), of `RotationErrors.errors`.
        reflected: Whether the structure was mirrored too (k,).
        title: Written above.
        unit: Of the differences.
        quantity: What was predicted.
    """
    errors, reflected = np.asarray(errors), np.asarray(reflected, dtype=bool)
    number = np.arange(1, len(errors) + 1)
    with styled():
        ax.axhline(0.0, color="0.7", linewidth=0.7, zorder=0)
        for mirrored, name in enumerate(("turned", "turned, mirrored")):
            mine = reflected == bool(mirrored)
            ax.plot(
                number[mine],
                errors[mine],
                "os"[mirrored],
                ms=4,
                color=COLOURS[mirrored],
                label=name,
            )
        ax.locator_params(axis="x", nbins=6, integer=True)
        # Round steps: two digits are enough to write them, 1.5e-07 among them.
        ax.locator_params(axis="y", nbins=5, steps=[1, 2, 5, 10])
        ax.ticklabel_format(axis="y", style="plain", useOffset=False)
        span = float(np.abs(errors).max(initial=0.0))
        if 0 < span < 1e-3:
            ax.yaxis.set_major_formatter("{x:.2g}")
        ax.set(title=title, xlabel="random rotation, number")
        ax.set_ylabel(f"error of the {quantity} [{unit}]")
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax
