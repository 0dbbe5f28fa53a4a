"""Where the time of a training step goes, by phase and by kind of operation.

    python benchmarks/step_profile.py [--qm9 FOLDER] [--steps 40]

One thread, the shipped EMT sample and, if a folder is given, QM9. Also times the update
of each layer compiled by torch.compile. Writes results/step_profile.json.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import torch
from loop import EMA_DECAY, adamw, endless, one_thread
from record import write_result
from torch.profiler import ProfilerActivity, profile
from variants import FLT

from molflt.data import EMTIS2RE, QM9
from molflt.data.datamodule import GraphDataModule
from molflt.data.statistics import fit_statistics
from molflt.features import Features
from molflt.model import FLTEncoder, FLTModel
from molflt.training.averaging import RisingAverage

KINDS = {
    "matrix products": ("mm", "addmm"),
    "batched matrix products": ("bmm", "baddbmm"),
    "copies, sums by index": (
        *("copy_", "cat", "index_select", "index_add_", "scatter_add_", "index"),
        *("index_copy", "index_copy_", "fill_", "zero_", "gather", "index_put_"),
    ),
}
"""Names of operators; all others are elementwise operations and bookkeeping."""


class Phases:
    """CPU time by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def time(self, name: str) -> Any:
        """Add the CPU time of a block to a phase."""
        start = time.process_time()
        yield
        self.seconds[name] += time.process_time() - start


def measure(
    data: GraphDataModule, steps: int, change: Callable[[FLTModel], None]
) -> dict[str, Any]:
    """Time `steps` steps of training; return milliseconds a step.

    Args:
        data: Opened data module.
        steps: Steps that are timed, after a quarter as many that are not.
        change: Applied to the model before.
    """
    torch.manual_seed(0)
    (spec,) = data.targets
    model = FLTModel(FLTEncoder(**FLT["FLT"]), (spec,))
    model.set_statistics(spec.name, fit_statistics(data.train, spec).plain())
    change(model)
    optimizer = adamw(model, 1e-4, 0.01)
    average = RisingAverage(model, EMA_DECAY)
    batches = endless(data)
    structures = 0

    def step(phases: Phases) -> int:
        with phases.time("collating"):
            batch = next(batches)
        with phases.time("neighbours and geometry"):
            geometry = model.encoder.geometry(batch)
        with phases.time("forward"):
            features = Features(*model.encoder(batch, geometry=geometry), batch)
            labels = model.normalise(spec.name, batch[spec.name], batch)
            loss = (model.read(features)[spec.name] - labels).abs().mean()
        with phases.time("backward"):
            optimizer.zero_grad()
            loss.backward()
        with phases.time("clipping, AdamW, average"):
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            average.update_parameters(model)
        return int(batch.num_graphs)

    for _ in range(steps // 4):
        step(Phases())
    phases = Phases()
    for _ in range(steps):
        structures += step(phases)
    total = sum(phases.seconds.values())
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(steps // 4):
            step(Phases())
    return {
        "milliseconds": {k: 1000 * v / steps for k, v in phases.seconds.items()},
        "structures_per_second": structures / total,
        "share_of_operations": shares(profiler),
    }


def shares(profiler: profile) -> dict[str, float]:
    """Return the share of the operators' own time by kind."""
    kind_of = {f"aten::{name}": kind for kind, names in KINDS.items() for name in names}
    times: dict[str, float] = defaultdict(float)
    for event in profiler.key_averages():
        kind = kind_of.get(event.key, "elementwise operations and bookkeeping")
        times[kind] += event.self_cpu_time_total
    total = sum(times.values())
    return {kind: value / total for kind, value in times.items()}


def compile_updates(model: FLTModel) -> None:
    """Compile what each layer does to an atom on its own."""
    for layer in model.encoder.layers:
        layer._gated = torch.compile(layer._gated, dynamic=True)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--qm9", help="folder of QM9")
    parser.add_argument("--steps", type=int, default=40)
    arguments = parser.parse_args()
    one_thread()
    data: dict[str, GraphDataModule] = {"EMT": EMTIS2RE(batch_size=16)}
    if arguments.qm9:
        data["QM9"] = QM9(arguments.qm9, "u0", num_train=10_000, in_memory=True)
    rows = {}
    for name, module in data.items():
        module.setup()
        for way, change in {
            "": lambda model: None,
            ", updates compiled": compile_updates,
        }.items():
            rows[name + way] = measure(module, arguments.steps, change)
            print(name + way, rows[name + way], flush=True)
    print(write_result("step_profile", {"options": FLT["FLT"], "rows": rows}))


if __name__ == "__main__":
    main()
