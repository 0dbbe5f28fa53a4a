"""Learning curves of QM9 U0, drawn from the runs in results/accuracy.

python benchmarks/curves.py        writes results/learning_curves.svg
"""

import numpy as np
import plan
from finished import read
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter, ScalarFormatter
from numpy.typing import NDArray
from record import RESULTS
from table_runs import runs_of

from molflt.analysis.style import COLOURS, panels, save, styled

Points = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]


def main() -> None:
    """Draw the curves whose runs are finished."""
    points = curves(read)
    if not points:
        raise SystemExit("Runs of the learning curves are open; see accuracy.py --list")
    with styled():
        figure, (axes,) = panels(1)
        draw(axes, points)
        save(figure, RESULTS / "learning_curves.svg")
    for name, (sizes, errors) in points.items():
        print(f"{name}: error falls as n^{slope(sizes, errors):.2f}")


def curves(read: plan.Read) -> Points:
    """Return numbers of training molecules and test MAE [meV] of each family."""
    found: dict[str, list[tuple[float, float]]] = {}
    for run in runs_of(plan.curves, read):
        result = read(run)
        if result is not None:
            error = 1000 * result["test"]["test_mae"]
            family = next(
                f for f, models in plan.FAMILIES.items() if run.model in models
            )
            found.setdefault(family, []).append((run.train, error))
    complete = {n: sorted(p) for n, p in found.items() if len(p) == len(plan.CURVE)}
    return {
        name: (np.array(pairs)[:, 0], np.array(pairs)[:, 1])
        for name, pairs in complete.items()
    }


def slope(sizes: NDArray[np.float64], errors: NDArray[np.float64]) -> float:
    """Return the power of n with which errors change, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])


def draw(axes: Axes, points: Points) -> None:
    """Draw errors against numbers of molecules, both logarithmic, with their fits."""
    for colour, (name, (sizes, errors)) in zip(COLOURS, points.items(), strict=False):
        power = slope(sizes, errors)
        line = (
            np.exp(np.log(errors).mean())
            * (sizes / np.exp(np.log(sizes).mean())) ** power
        )
        axes.plot(sizes, errors, "o", color=colour, markersize=4)
        label = f"{name}, n$^{{{power:.2f}}}$"
        axes.plot(sizes, line, color=colour, label=label)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="training molecules",
        ylabel="test MAE of U$_0$ (meV)",
    )
    axes.xaxis.set_major_locator(FixedLocator(list(plan.CURVE)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.legend()


if __name__ == "__main__":
    main()
