"""Table and figure of time and peak memory against the number of atoms.

python benchmarks/scaling_figure.py               writes results/scaling.svg and .json
python benchmarks/scaling_figure.py scaling_cuda  of the runs in that folder of results/

`tables.py` then puts the table into its page.
"""

import json
import sys
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


def main(name: str = "scaling") -> None:
    """Write figure and fits of the runs in a folder of results."""
    runs = read(record.RESULTS / name)
    if not runs:
        raise SystemExit("There are no results yet; run scaling.py first.")
    result = {"growth": growth(runs), "rows": rows(runs), **conditions(runs)}
    record.write_result(name, result)
    with styled():
        figure, axes = panels(2 * len(MODES), columns=2, width=DOUBLE)
        for row, mode in enumerate(MODES):
            draw(axes[2 * row], runs, mode, "seconds", "time (s)", 1)
            draw(axes[2 * row + 1], runs, mode, "peak_bytes", "memory (GiB)", 2**-30)
        axes[0].legend(fontsize=6)
        save(figure, record.RESULTS / f"{name}.svg")


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
    found = []
    for (model, mode), results in runs.items():
        large = [r for r in done(results) if r["atoms"] >= 0.9 * FIT_FROM]
        if len(large) < 2:
            continue
        atoms = np.array([r["atoms"] for r in large], dtype=float)
        seconds = np.array([r["seconds"] for r in large])
        used = np.array([max(r["peak_bytes"] - r["bytes_before"], 1) for r in large])
        found.append(
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
    return found


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


def conditions(runs: Runs) -> Result:
    """Return what all runs have in common: cores, machine, limits.

    Raises:
        SystemExit: They differ, so that runs cannot be compared.
    """
    every = [result for results in runs.values() for result in results]
    common: Result = {"measured": sorted({r["commit"] for r in every})}
    for name in ("threads", "machine", "card"):
        found = [result.get(name) for result in every]
        if any(value != found[0] for value in found):
            raise SystemExit(f"Runs differ in {name}; measure them on one machine.")
        common["measured_on" if name == "machine" else name] = found[0]
    common["memory_gib"] = every[0]["limits"]["memory_gib"]
    return common


def rows(runs: Runs) -> list[Result]:
    """Return, by model and mode, the largest size that was done, and the next."""
    powers = {(r["model"], r["mode"]): r for r in growth(runs)}
    found = []
    for (model, mode), results in runs.items():
        finished = done(results)
        if not finished:
            continue
        last, end = finished[-1], results[-1]
        grows = powers.get((model, mode))
        found.append(
            {
                "model": model,
                "mode": MODES[mode],
                "atoms": last["atoms"],
                "seconds": last["seconds"],
                "peak_gib": last["peak_bytes"] / 2**30,
                "ended_by": end["status"],
                "ended_at": end["asked_atoms"],
                "limit_seconds": end["limits"]["seconds_limit"],
                "time_power": grows and grows["time_power"],
            }
        )
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
