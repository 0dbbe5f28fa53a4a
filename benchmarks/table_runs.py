"""The runs behind tables, and what tables say of them."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from molecules import SEEDED_FORCES
from plan import FAMILIES, Read, Run, choose

Result = dict[str, Any]

SEEDS = range(3)
UNITS = {"eV": ("meV", 1000.0)}
NAMES = {
    **{"u0": "U0", "u": "U", "h": "H", "g": "G", "cv": "Cv", "r2": "⟨R²⟩"},
    **{"homo": "HOMO", "lumo": "LUMO", "zpve": "ZPVE", "mu": "μ", "alpha": "α"},
}


def target_name(target: str) -> str:
    """Return a target of QM9 as it is written in text."""
    return NAMES.get(target, target)


def unit_of(result: Result) -> tuple[str, float]:
    """Return the unit of a table, and what values of the result are multiplied by."""
    return UNITS.get(result["unit"], (result["unit"], 1.0))


def choices(read: Read) -> dict[str, Run] | None:
    """Return the choice of every family; None: a grid is not complete."""
    found = {family: choose(family, read) for family in FAMILIES}
    complete = {family: run for family, run in found.items() if run is not None}
    return complete if len(complete) == len(FAMILIES) else None


def runs_of(stage: Callable[[dict[str, Run]], Iterable[Run]], read: Read) -> list[Run]:
    """Return the runs of one part of the plan; empty: a grid is not complete."""
    chosen = choices(read)
    return [] if chosen is None else list(stage(chosen))


def still_open(runs: Iterable[Run], read: Read) -> str:
    """Return a sentence about runs of the plan that are not made; "": all are."""
    count = sum(read(run) is None for run in runs)
    return f" {count} runs of the plan are open." if count else ""


def over_seeds(run: Run, read: Read) -> list[Result]:
    """Return the finished runs of the seeds of what has several, of one of others."""
    seeds = SEEDS if run.target in ("u0", "energy", *SEEDED_FORCES) else range(1)
    found = [read(replace(run, seed=seed)) for seed in seeds]
    return [result for result in found if result is not None]


def title(family: str, run: Run) -> str:
    """Return the name of a family's model."""
    return family if run.model == family else f"{family} ({run.model})"


def settings(chosen: dict[str, Run]) -> str:
    """Return what the grid decided."""
    parts = [
        f"{title(family, run)} {run.batch_size}, {run.lr:g}"
        for family, run in chosen.items()
    ]
    return f"Batch size and learning rate: {'; '.join(parts)}."


def processors(results: list[Result]) -> str:
    """Return the processors on which runs were made."""
    return ", ".join(sorted({result["machine"]["processor"] for result in results}))


def minutes(result: Result) -> int:
    """Return the budget in minutes."""
    return round(result["seconds"] / 60)
