"""CPU time of a training step of each model, from which runs get their steps.

A budget of CPU time is worth more on an idle machine than on a busy one, and the busy
one may be another. So all models are timed once, in turns, on one idle machine; a run
takes as many steps as its budget buys at that speed, whenever and wherever it is made.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

from loop import SETTINGS, Stepper, say
from plan import Run, options_of, same_options
from record import RESULTS, write_result
from torch_geometric.data import Batch

NAME = "accuracy_speed"
WARMUP_STEPS = 12  # allocations and compilations for the shapes that occur
ROUNDS, STEPS_A_ROUND = 9, 2

Start = Callable[[Run], tuple[Stepper, Iterator[Batch]]]


def workload(run: Run) -> str:
    """Return what a run repeats; QM9's targets differ in their readout alone."""
    parts = [run.task, *([run.target] if run.task == "rmd17" else [])]
    return "-".join([*parts, run.model.lower().replace(" ", "_"), f"b{run.batch_size}"])


def known() -> dict[str, Any]:
    """Return what was timed, by workload."""
    path = RESULTS / f"{NAME}.json"
    return json.loads(path.read_text())["workloads"] if path.exists() else {}


def steps_of(run: Run) -> int | None:
    """Return how many steps the budget of a run buys; None: it was never timed.

    What a model looks at before its first step is part of the budget.

    A time of other options of the model does not count.
    """
    timed = known().get(workload(run))
    if timed is None or not same_options(options_of(run.model), timed["options"]):
        return None
    seconds = run.seconds - timed.get("fit_seconds", 0.0)
    return max(1, round(seconds / timed["seconds_per_step"]))


def fit_seconds(stepper: Stepper) -> float:
    """Return the CPU time [s] for which a model looked at its data before any step."""
    return float(getattr(stepper.model, "fit_seconds", 0.0))


def anchor_of(runs: list[Run]) -> Run:
    """Return what runs are timed beside: a known peer, or FLT for variants of it.

    Processors differ in how fast they make one model and another, a model and its
    variant not: their times are to be ratios to FLT's own.
    """
    if all(run.model.startswith("FLT ") for run in runs):
        if all(run.task == "qm9" for run in runs):
            return Run("qm9", "u0", "FLT")
        if all(run.task == "rmd17" for run in runs):
            return Run("rmd17", "ethanol", "FLT HCO", 0, 1800, 10, 1e-3, 950)
    return Run("qm9", "u0", "PaiNN")


def measure(runs: list[Run], start: Start) -> None:
    """Time the workloads of runs in turns and write them beside those that are known.

    Once there is a file, the anchor takes its turns too, and its time then and now
    translates the others' to the idle machine of the file.

    Args:
        runs: Runs, one for each workload; others of the same workload are left out.
        start: Returns what takes the steps of a run, and its batches.
    """
    before = known()
    distinct = {workload(run): run for run in reversed(runs)}
    beside = anchor_of(runs)
    anchor = workload(beside)
    if before:
        distinct.setdefault(anchor, beside)
    load = os.getloadavg()[0]
    started = {name: start(run) for name, run in distinct.items()}
    for name, (stepper, batches) in started.items():
        say(name)
        for _ in range(WARMUP_STEPS):
            stepper.step(next(batches))
    say("taking turns")
    rounds: dict[str, list[float]] = {name: [] for name in started}
    for _ in range(ROUNDS):
        for name, (stepper, batches) in started.items():
            begin = time.process_time()
            for _ in range(STEPS_A_ROUND):
                stepper.step(next(batches))
            spent = time.process_time() - begin
            rounds[name].append(spent / STEPS_A_ROUND)
    factor = 1.0
    if before:
        factor = before[anchor]["seconds_per_step"] / median(rounds[anchor])
    found = {}
    for name, times in rounds.items():
        if before and name == anchor:
            continue
        found[name] = {
            "seconds_per_step": median(times) * factor,
            "measured": {"least": min(times), "median": median(times)},
            "fit_seconds": fit_seconds(started[name][0]) * factor,
            "anchor": anchor,
            "anchor_factor": factor,
            "load_before": round(load, 2),
            "options": options_of(distinct[name].model),
        }
        say(f"{name}: {1000 * found[name]['seconds_per_step']:.1f} ms a step")
    write_result(NAME, {"loop": SETTINGS, "workloads": before | found})
