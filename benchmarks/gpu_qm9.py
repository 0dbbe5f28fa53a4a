"""All of QM9 on a GPU: our model and a peer, the same loop and the same time.

    python benchmarks/gpu_qm9.py --qm9 FOLDER [--target u0 gap] [--model FLT PaiNN ...]

The loop of `accuracy.py`, but a run ends after --seconds of wall time, and warm-up and
cosine follow the time instead of steps. Trained on all molecules but 1,000 for
validation and the 2,000 test molecules of `accuracy.py`; each finished run is one file
in results/gpu_qm9/ and is not made again. `--device cpu` tries it without a GPU.
"""

import argparse
import os
import time
from collections.abc import Iterable, Iterator
from typing import Any

import record
import torch
from accuracy import build
from device_memory import DeviceMemory
from loop import SETTINGS, WARMUP_FRACTION, Stepper, endless, say
from plan import QM9_TARGETS, Run, options_of
from tasks import QM9_TEST, QM9_VAL, Roots, Task, evaluate, open_task
from torch_geometric.data import Batch

MOLECULES = 124_742  # of QM9 without fluorine, the set of `accuracy.py`
REPORTS = 20  # lines of progress


def main(arguments: list[str] | None = None) -> None:
    """Make the runs that are open."""
    options = parse(arguments)
    device = torch.device(options.device)
    for model in options.model:
        for target in options.target:
            run = Run(
                *("qm9", target, model, options.seed, options.seconds),
                *(options.batch_size, options.lr, options.train),
            )
            if (record.RESULTS / "gpu_qm9" / f"{run.name}.json").exists():
                continue
            print(run.name, flush=True)
            record.write_result(f"gpu_qm9/{run.name}", perform(run, options, device))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--target", nargs="+", default=["u0", "gap"], choices=QM9_TARGETS)
    add("--model", nargs="+", default=["FLT", "PaiNN Bessel"])
    add("--seconds", type=int, default=1500, help="wall time of training (1500)")
    add("--batch-size", type=int, default=128)
    add("--lr", type=float, default=1e-3)
    add("--seed", type=int, default=0)
    add("--train", type=int, default=MOLECULES - QM9_VAL - QM9_TEST)
    add("--workers", type=int, default=min(8, os.cpu_count() or 1))
    add("--device", default="cuda")
    add("--qm9", default="data/qm9", help="folder of QM9")
    add("--qm9-from-file", help="a qm9.zip, instead of a download")
    return parser.parse_args(arguments)


def perform(
    run: Run, options: argparse.Namespace, device: torch.device
) -> dict[str, Any]:
    """Train and evaluate; return the content of the result file."""
    task = open_task(run, Roots(options.qm9, options.qm9_from_file))
    task.data.num_workers = options.workers
    torch.manual_seed(run.seed)
    model = build(run, task).to(device)
    stepper = Stepper(model, task.loss, run.lr)
    done = train(stepper, task, run, device)
    data, averaged = task.data, stepper.average.module
    errors = {}
    for names, loaders in (
        (data.val_names, data.val_dataloader()),
        (data.test_names, data.test_dataloader()),
    ):
        moved = [on_device(loader, device) for loader in loaders]
        errors |= evaluate(averaged, task.errors, names, moved)
    say(f"{errors}")
    return {
        **run.plain(),
        **{"options": options_of(run.model), "loop": SETTINGS, "clock": "wall"},
        **{
            "card": DeviceMemory(device.type).card,
            "workers": options.workers,
            "threads": torch.get_num_threads(),
        },
        **{"parameters": model.num_parameters, **done, "errors": errors},
        **{"unit": data.targets[0].unit, "data": task.notes},
    }


def train(
    stepper: Stepper, task: Task, run: Run, device: torch.device
) -> dict[str, Any]:
    """Take steps until the time is over; return what was done.

    The clock starts after ten steps, which compile and allocate.
    """
    memory = DeviceMemory(device.type)
    batches = on_device(endless(task.data), device)
    for _, batch in zip(range(10), batches, strict=False):
        stepper.set_rate(run.lr, 0.01, 0.0)
        stepper.step(batch)
    memory.wait()
    begin, steps, molecules = time.perf_counter(), 0, 0
    recent: list[torch.Tensor] = []
    curve: list[tuple[int, float]] = []
    for batch in batches:
        spent = time.perf_counter() - begin
        if spent >= run.seconds:
            break
        part = spent / run.seconds
        stepper.set_rate(run.lr, max(part, 1e-3) / WARMUP_FRACTION, part)
        recent.append(stepper.step(batch))
        steps, molecules = steps + 1, molecules + batch.num_graphs
        if part * REPORTS >= len(curve) + 1:
            curve.append((steps, float(torch.stack(recent).mean())))
            recent.clear()
            say(f"{spent:.0f} s, step {steps}, loss {curve[-1][1]:.4f}")
    memory.wait()
    seconds = time.perf_counter() - begin
    return {
        "steps": steps,
        "epochs": molecules / run.train,
        "trained_seconds": round(seconds, 2),
        "molecules_per_second": round(molecules / seconds, 1),
        "loss_curve": curve,
    }


def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """Yield batches on a device."""
    for batch in batches:
        yield batch.to(device, non_blocking=True)


if __name__ == "__main__":
    main()
