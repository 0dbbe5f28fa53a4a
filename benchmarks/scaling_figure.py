"""Table and figure of time and peak memory against the number of atoms.

python benchmarks/scaling_figure.py        writes results/scaling.svg and .json
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import record
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from molflt.analysis.style import COLOURS, DOUBLE, panels, save, styled

FIT_FROM = 10_000  # atoms; growth is fitted from here on
MODES = {"energy": "energy", "forces": "energy and forces"}
Result = dict[str, Any]
Runs = dict[tuple[str, str], list[Result]]


def main() -> None:
    """Write figure and fits, print the table."""
    runs = read(record.RESULTS / "scaling")
    if not runs:
        raise SystemExit("There are no results yet; run scaling.py first.")
    record.write_result("scaling", {"growth": growth(runs)})
    with styled():
        figure, axes = panels(2 * len(MODES), columns=2, width=DOUBLE)
        for row, mode in enumerate(MODES):
            draw(axes[2 * row], runs, mode, "seconds", "time (s)", 1)
            draw(axes[2 * row + 1], runs, mode, "peak_bytes", "memory (GiB)", 2**-30)
        axes[0].legend(fontsize=6)
        save(figure, record.RESULTS / "scaling.svg")
    print("\n".join(table(runs)))


def read(folder: Path) -> Runs:
    """Return results by model and mode, by growing size."""
    runs: Runs = {}
    for path in folder.glob("*.json"):
        result = json.loads(path.read_text())
        runs.setdefault((result["model"], result["mode"]), []).append(result)
    for results in runs.values():
        results.sort(key=lambda result: result["asked_atoms"])
    return dict(sorted(runs.items()))


def done(results: list[Result]) -> list[Result]:
    """Return the results of runs that came to their end."""
    return [result for result in results if result["status"] == "done"]


def growth(runs: Runs) -> list[Result]:
    """Return powers of the number of atoms with which time and memory grow.

    Memory is what a run needs beyond the process before it.
    """
    rows = []
    for (model, mode), results in runs.items():
        large = [r for r in done(results) if r["atoms"] >= 0.9 * FIT_FROM]
        if len(large) < 2:
            continue
        atoms = np.array([r["atoms"] for r in large], dtype=float)
        seconds = np.array([r["seconds"] for r in large])
        used = np.array([max(r["peak_bytes"] - r["bytes_before"], 1) for r in large])
        rows.append(
            {
                "model": model,
                "mode": mode,
                "atoms": atoms.astype(int).tolist(),
                "time_power": power(atoms, seconds),
                "memory_power": power(atoms, used),
                "bytes_per_atom": (used / atoms).tolist(),
                "milliseconds_per_atom": (1000 * seconds / atoms).tolist(),
            }
        )
    return rows


def power(sizes: Any, values: Any) -> float:
    """Return the power of the sizes with which values grow, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def draw(
    axes: Axes, runs: Runs, mode: str, field: str, label: str, unit: float
) -> None:
    """Draw one quantity against the number of atoms; a cross ends what failed."""
    models = sorted({model for model, _ in runs})
    for index, model in enumerate(models):
        results = runs.get((model, mode), [])
        finished = done(results)
        if not finished:
            continue
        style = {"color": COLOURS[index % len(COLOURS)]}
        style["linestyle"] = "-" if index < len(COLOURS) else "--"
        atoms = [r["atoms"] for r in finished]
        values = [unit * r[field] for r in finished]
        axes.plot(atoms, values, marker=".", label=model, **style)
        if len(finished) < len(results):
            axes.plot(atoms[-1], values[-1], "x", color=style["color"], markersize=7)
    axes.set(xscale="log", yscale="log", xlabel="atoms", ylabel=label)
    axes.set_title(MODES[mode])
    axes.yaxis.set_minor_locator(NullLocator())


def table(runs: Runs) -> list[str]:
    """Return lines of a Markdown table: the largest size of each model, and its end."""
    lines = [
        "| model | mode | most atoms | ms an atom | GiB | beyond | time grows as |",
        "|---|---|---|---|---|---|---|",
    ]
    powers = {(r["model"], r["mode"]): r["time_power"] for r in growth(runs)}
    for (model, mode), results in runs.items():
        finished = done(results)
        if not finished:
            continue
        last = finished[-1]
        end = results[-1]
        beyond = "" if end["status"] == "done" else f"{end['status']}"
        if beyond:
            beyond += f" at {end['asked_atoms']:,}"
        known = (model, mode) in powers
        grows = f"n^{powers[model, mode]:.2f}" if known else ""
        lines.append(
            f"| {model} | {MODES[mode]} | {last['atoms']:,} "
            f"| {1000 * last['seconds'] / last['atoms']:.3f} "
            f"| {last['peak_bytes'] / 2**30:.2f} | {beyond} | {grows} |"
        )
    return lines


if __name__ == "__main__":
    main()
