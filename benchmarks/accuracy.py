"""Errors of our model and of its peers: same loop, data, thread and CPU time.

    python benchmarks/accuracy.py --time                     first, on an idle machine
    python benchmarks/accuracy.py --list                     what is done, what is open
    python benchmarks/accuracy.py                            the whole plan, in order
    python benchmarks/accuracy.py --task qm9 --model PaiNN   a part of it

`make bench-setup` installs the peers. Each finished run is one file in
results/accuracy/ and is not made again; several processes may work on the plan at once.
What all models share is written in `loop.py` (training) and `tasks.py` (data, loss,
errors); `plan.py` has the runs, `variants.py` our model, `peers.py` the others,
`speed.py` the CPU time of their steps, by which a budget of CPU time becomes a number
of steps. The test molecules are evaluated once, after the last step of a run.
"""

import argparse
import os
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import torch
from adsorption import DISPLACEMENTS, INTERACTION
from finished import claim, claimed_by, path_of, read
from loop import SETTINGS, Stepper, endless, one_thread, say, train
from moves import WEIGHT, add_term
from peers import PACKAGES, PEERS, build_peer
from plan import FAMILIES, Run, choose, first_runs, options_of, plan
from record import write_result
from speed import measure, steps_of
from tasks import Model, Roots, Task, evaluate, open_task
from torch_geometric.data import Batch
from variants import FLT

from molflt.data.statistics import fit_statistics
from molflt.density import fit_density
from molflt.model import FLTEncoder, FLTModel

EMT_CUTOFF = 5.0  # Å, of all models


def main(argv: list[str] | None = None) -> None:
    """Make the runs of the plan that are open."""
    arguments = parse(argv)
    roots = Roots(
        arguments.qm9, arguments.qm9_from_file, arguments.rmd17, arguments.emt
    )
    if arguments.list:
        show([run for run in plan(read) if wanted(run, arguments)])
        return
    one_thread()
    if arguments.time:
        runs = [run for run in (*first_runs(), *plan(read)) if wanted(run, arguments)]
        if arguments.time == "new":
            runs = [run for run in runs if steps_of(run) is None]
        if not runs:
            print("All are timed; `--time all` times them again.")
            return
        measure(runs, lambda run: start(run, roots))
        return
    if arguments.trial:
        for run in filter(lambda run: wanted(run, arguments), plan(read)):
            print(run.name, flush=True)
            perform(run, roots, arguments.trial)
        return
    failed: set[Run] = set()
    while work(arguments, roots, failed):
        pass  # a run that completes a grid opens others
    if failed:
        raise SystemExit("failed: " + ", ".join(run.name for run in failed))


def work(arguments: argparse.Namespace, roots: Roots, failed: set[Run]) -> bool:
    """Make the first run that is open; return whether there was one.

    Args:
        arguments: Filters.
        roots: Folders of the data.
        failed: Runs that are not tried again; one that fails is added.
    """
    for run in plan(read):
        if not wanted(run, arguments) or run in failed or read(run) is not None:
            continue
        steps = steps_of(run)
        if steps is None:
            print(f"{run.name} waits for --time")
            failed.add(run)
            return True
        with claim(run) as free:
            if free and read(run) is None:
                print(run.name, flush=True)
                try:
                    write_result(f"accuracy/{run.name}", perform(run, roots, steps))
                    if read(run) is None:
                        raise RuntimeError(f"{run.name} is not what the plan asks for.")
                except Exception:  # one model's error must not stop the others
                    traceback.print_exc()
                    failed.add(run)
                return True
    return False


def start(run: Run, roots: Roots) -> tuple[Stepper, Iterator[Batch]]:
    """Return what takes the steps of a run, and its batches."""
    task = open_task(run, roots)
    return Stepper(build(run, task), task.loss, run.lr / 1e3), endless(task.data)


def perform(run: Run, roots: Roots, steps: int) -> dict[str, Any]:
    """Train and evaluate; return the content of the result file."""
    begin, load = time.time(), os.getloadavg()
    task = open_task(run, roots, steps)
    torch.manual_seed(run.seed)
    model = build(run, task)
    training = train(model, task.data, task.loss, run.lr, steps)
    data = task.data
    val = evaluate(training.model, task.errors, data.val_names, data.val_dataloader())
    test = val  # a task without other sets
    if data.test_names != data.val_names:
        loaders = data.test_dataloader()
        test = evaluate(training.model, task.errors, data.test_names, loaders)
    say(f"val {val}, test {test}")
    return {
        **run.plain(),
        "options": options_of(run.model),
        "loop": SETTINGS,
        "displacement_weight": WEIGHT if run.model in DISPLACEMENTS else 0.0,
        "interaction_energy": run.model in INTERACTION,
        "packages": {name: version(name) for name in PACKAGES if run.model in PEERS},
        "parameters": model.num_parameters,
        **training.plain(),
        "molecules_per_second": round(steps * run.batch_size / run.seconds, 2),
        "val": val,
        "test": test,
        "unit": task.data.targets[0].unit,
        "offset_rmse": task.statistics.rmse,
        "threads": torch.get_num_threads(),
        "data": task.notes,
        "wall_seconds": round(time.time() - begin, 1),
        "load_before_and_after": [round(load[0], 2), round(os.getloadavg()[0], 2)],
    }


def build(run: Run, task: Task) -> Model:
    """Return a model with random weights and the offset and scale of the task."""
    model = without_term(run, task)
    if run.model in DISPLACEMENTS:
        add_term(model)
    return model


def without_term(run: Run, task: Task) -> Model:
    """Return what `build` does, without the head of an auxiliary task."""
    (spec,) = task.data.targets
    statistics = task.statistics
    if run.model in INTERACTION:
        spec = replace(spec, interaction=True)
        statistics = fit_statistics(task.data.train, spec)
    if run.model in PEERS:
        cutoff = EMT_CUTOFF if run.task == "emt" else None
        return build_peer(run.model, spec, statistics, cutoff)
    if run.task == "emt" and not spec.interaction:
        spec = replace(spec, readout="tags")
    model = FLTModel(FLTEncoder(**FLT[run.model]), (spec,))
    begin = time.process_time()
    fit_density(model.encoder, task.data.train)
    model.fit_seconds = time.process_time() - begin
    model.set_statistics(spec.name, statistics.plain())
    return model


def wanted(run: Run, arguments: argparse.Namespace) -> bool:
    """Whether a run passes the filters of the command line."""
    return all(
        not chosen or getattr(run, field) in chosen
        for field, chosen in (
            ("task", arguments.task),
            ("target", arguments.target),
            ("model", arguments.model),
            ("seconds", arguments.seconds),
            ("seed", arguments.seed),
            ("batch_size", arguments.batch_size),
            ("lr", arguments.lr),
        )
    )


def show(runs: list[Run]) -> None:
    """Print the state of each run and the CPU time that is left."""
    left = 0
    for run in runs:
        result = read(run)
        if result is not None:
            errors = {**result["val"], **result["test"]}
            state = ", ".join(f"{key} {value:.4g}" for key, value in errors.items())
        else:
            process = claimed_by(run)
            outdated = path_of(run).exists()
            state = "open, other options are recorded" if outdated else "open"
            state = f"process {process} works on it" if process else state
            left += run.seconds
        print(f"{run.name:64} {state}")
    print(f"{len(runs)} runs; {left / 3600:.1f} CPU hours are left.")
    waiting = [family for family in FAMILIES if choose(family, read) is None]
    if waiting:
        print(f"Further runs of {', '.join(waiting)} wait for the end of their grid.")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", action="store_true", help="show the runs, make none")
    parser.add_argument(
        "--time",
        nargs="?",
        const="new",
        choices=["new", "all"],
        help="time steps on an idle machine, of models without a time (new) or of all",
    )
    parser.add_argument(
        "--trial", type=int, metavar="STEPS", help="so many steps, and write nothing"
    )
    for name, kind in (
        ("task", str),
        ("target", str),
        ("model", str),
        ("seconds", int),
        ("seed", int),
        ("batch-size", int),
        ("lr", float),
    ):
        parser.add_argument(f"--{name}", type=kind, nargs="+", help="only these")
    parser.add_argument("--qm9", default="data/qm9", help="folder of QM9")
    parser.add_argument("--qm9-from-file", help="a qm9.zip, instead of a download")
    parser.add_argument("--rmd17", default="data/rmd17", help="folder of rMD17")
    parser.add_argument("--emt", help="folder of EMT; default: the shipped sample")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
