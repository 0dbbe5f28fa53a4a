"""How much of a model's own speed is left of `molflt predict`, and its memory.

    python benchmarks/predict_throughput.py --qm9 data/qm9

Molecules of QM9, drawn at random, are written to extended XYZ and to SDF files.
Compared are (1) the model alone on batches that are made beforehand, sorted by size,
and (2) what ``molflt predict`` does from the file to a CSV file: reading, checks,
batches, model, writing. The two take turns, a file of 2,000 molecules each, so that
other work on the machine hits both; start-up (imports, loading the checkpoint) is in
neither. Seconds are of CPU time and of the clock. The largest resident memory is
compared between a file and one eight times as long, each in a process of its own. About
three minutes. Writes results/predict_throughput.json.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ase.io
import torch
from ase import Atoms
from rdkit import Chem
from record import write_result
from torch_geometric.data import Batch, Data

from molflt.checkpoint import load, save_model
from molflt.commands.predict_summary import Summary
from molflt.commands.prediction_files import open_writer
from molflt.data import QM9
from molflt.data.molecule import graph_to_atoms
from molflt.evaluation import Ensemble
from molflt.model import FLTEncoder, FLTModel
from molflt.predict import BATCH_ATOMS, predict_files
from molflt.targets import TargetSpec

TURN = 2000
"""Molecules of a turn."""

# Not getrusage: what it says of the parent at the fork outlives the exec.
_MEMORY = """
import sys
from pathlib import Path
from molflt.cli import main
assert main(["predict", *sys.argv[1:]]) == 0
status = Path("/proc/self/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if "VmHWM" in line))
"""


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--qm9", default="data/qm9", help="folder of the data set")
    add("--qm9-from-file", help="a qm9.zip, instead of a download")
    add("--molecules", type=int, default=10_000)
    add("--threads", type=int, default=1)
    add("--width", type=int, default=128)
    add("--layers", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    graphs = molecules(options.qm9, options.qm9_from_file, options.molecules)
    with tempfile.TemporaryDirectory() as name:
        content = measure(Path(name), graphs, options)
    print(write_result("predict_throughput", content))


def molecules(root: str, from_file: str | None, count: int) -> list[Data]:
    """Return molecules of QM9, drawn at random, without labels."""
    data = QM9(root, from_file=from_file, num_train=count, num_val=1, num_test=1)
    data.setup()
    drawn = data.train_dataloader().dataset
    keep = ("z", "pos", "cell", "pbc", "tags", "fixed", "sid")
    return [Data(**{k: drawn[i][k] for k in keep}) for i in range(count)]


def measure(
    folder: Path, graphs: list[Data], options: argparse.Namespace
) -> dict[str, Any]:
    """Return molecules a second, alone and in all, and the memory of two lengths."""
    checkpoint, out = folder / "m.ckpt", folder / "out.csv"
    save_model(make_model(options.width, options.layers), checkpoint)
    model = load(checkpoint)
    structures = [graph_to_atoms(graph) for graph in graphs]
    clocks = {name: (Clock(), Clock()) for name in WRITERS}
    for start in range(0, len(graphs), TURN):
        part = slice(start, start + TURN)
        batches = make_batches(graphs[part])
        for name, write in WRITERS.items():
            file = folder / f"m.{name}"
            write(file, structures[part])
            compare(model, batches, file, out, *clocks[name])
    rates = {name: rate(len(graphs), *pair) for name, pair in clocks.items()}
    small = max(1, options.molecules // 10)
    peaks = {}
    for factor in (1, 8):
        part = folder / f"{factor}.extxyz"
        ase.io.write(part, structures[: factor * small])
        peaks[factor * small] = peak(checkpoint, part, out)
    return {
        "molecules": options.molecules,
        "threads": options.threads,
        "parameters": model.num_parameters,
        "by_format": rates,
        "peak_memory_MiB_by_molecules": peaks,
    }


def make_model(width: int, layers: int) -> FLTModel:
    """Return an untrained model of the usual size."""
    model = FLTModel(FLTEncoder(width=width, num_layers=layers), [TargetSpec("energy")])
    statistics = {"element_reference": {}, "mean": 0.0, "std": 1.0}
    model.set_statistics("energy", statistics | {"elements": [1, 6, 7, 8, 9]})
    return model.eval()


def write_sdf(path: Path, structures: list[Atoms]) -> None:
    """Write species and positions, without bonds."""
    with Chem.SDWriter(str(path)) as writer:
        for atoms in structures:
            molecule = Chem.RWMol()
            conformer = Chem.Conformer(len(atoms))
            for symbol, place in zip(atoms.symbols, atoms.positions, strict=True):
                index = molecule.AddAtom(Chem.Atom(symbol))
                conformer.SetAtomPosition(index, place)
            for atom in molecule.GetAtoms():
                atom.SetNoImplicit(True)
            molecule.AddConformer(conformer)
            writer.write(molecule)


WRITERS = {"extxyz": ase.io.write, "sdf": write_sdf}


def make_batches(graphs: list[Data]) -> list[Batch]:
    """Return batches of all molecules, sorted by size, as large as predict's."""
    graphs = sorted(graphs, key=lambda graph: len(graph.z))
    batches, start = [], 0
    while start < len(graphs):
        size = max(1, BATCH_ATOMS["cpu"] // len(graphs[start].z))
        batches.append(Batch.from_data_list(graphs[start : start + size]))
        start += size
    return batches


class Clock:
    """Seconds of the processor (0) and of the clock (1) of several pieces of work."""

    def __init__(self) -> None:
        self.seconds = [0.0, 0.0]

    def __enter__(self) -> None:
        self._started = time.process_time(), time.perf_counter()

    def __exit__(self, *_: object) -> None:
        now = time.process_time(), time.perf_counter()
        for index in (0, 1):
            self.seconds[index] += now[index] - self._started[index]


def compare(
    model: FLTModel,
    batches: list[Batch],
    file: Path,
    out: Path,
    alone: Clock,
    whole: Clock,
) -> None:
    """Take the time of the model alone, and of the whole of a prediction."""
    ensemble = Ensemble([model])
    with whole, open_writer(out, ensemble) as write:
        summary = Summary(ensemble)
        for structure in summary.watch(predict_files(ensemble, [file])):
            write(structure)
    assert summary.count == sum(batch.num_graphs for batch in batches)
    assert summary.num_errors == 0
    with alone, torch.no_grad():
        for batch in batches:
            model(batch)


def rate(count: int, alone: Clock, whole: Clock) -> dict[str, float]:
    """Return molecules a second, and what is left of the model's own speed."""
    return {
        "share_clock": alone.seconds[1] / whole.seconds[1],
        "share_cpu": alone.seconds[0] / whole.seconds[0],
        "model_alone_per_second": count / alone.seconds[1],
        "predict_per_second": count / whole.seconds[1],
        "model_alone_per_cpu_second": count / alone.seconds[0],
        "predict_per_cpu_second": count / whole.seconds[0],
    }


def peak(checkpoint: Path, file: Path, out: Path) -> float:
    """Return the largest resident memory [MiB] of a prediction of its own (Linux)."""
    words = [sys.executable, "-c", _MEMORY, checkpoint, file, "-o", out]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) / 2**10


if __name__ == "__main__":
    main()
