"""How much of a model's own speed is left of `molflt predict`, and its memory.

    python benchmarks/predict_throughput.py --qm9 data/qm9

Molecules of QM9, drawn at random, are written to extended XYZ and to SDF files,
species and positions alone. Compared are (1) the model and (2) what ``molflt
predict`` does from the file to a CSV file: reading, checks, batches, model, writing.
The two take turns batch by batch, so that other work on the machine hits both: each
batch of (2) is evaluated once more for (1), by turns before and after. What the
batches of (2) lose against all molecules sorted by size is stated apart, as padded
slots. Start-up (imports, loading the checkpoint) is in neither. Seconds are of CPU
time and of the clock. The largest resident memory is compared between a file and one
eight times as long, each in a process of its own. About three minutes. Writes
results/predict_throughput.json.
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
from torch_geometric.data import Data

from molflt.checkpoint import load, save_model
from molflt.commands.predict_summary import Summary
from molflt.commands.prediction_files import open_writer
from molflt.data import QM9
from molflt.data.molecule import STRUCTURE_FIELDS
from molflt.evaluation import Ensemble, Evaluation, Request
from molflt.model import FLTEncoder, FLTModel
from molflt.predict import BATCH_ATOMS, predict_files
from molflt.targets import TargetSpec

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
    keep = (*STRUCTURE_FIELDS, "sid")
    return [Data(**{k: drawn[i][k] for k in keep}) for i in range(count)]


def measure(
    folder: Path, graphs: list[Data], options: argparse.Namespace
) -> dict[str, Any]:
    """Return molecules a second, alone and in all, and the memory of two lengths."""
    checkpoint, out = folder / "m.ckpt", folder / "out.csv"
    save_model(make_model(options.width, options.layers), checkpoint)
    model = load(checkpoint)
    structures = [Atoms(graph.z.numpy(), graph.pos.numpy()) for graph in graphs]
    rates = {}
    for name, write in WRITERS.items():
        file = folder / f"m.{name}"
        write(file, structures)
        rates[name] = compare(model, graphs, file, out)
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


def sorted_slots(sizes: list[int]) -> int:
    """Return the padded atoms of batches as large as predict's, of all molecules."""
    sizes, slots, start = sorted(sizes), 0, 0
    while start < len(sizes):
        batch = sizes[start : start + max(1, BATCH_ATOMS["cpu"] // sizes[start])]
        slots += len(batch) * batch[-1]
        start += len(batch)
    return slots


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


class Twice(Ensemble):
    """Evaluates each batch once more, with the model alone.

    Args:
        model: The model.

    Attributes:
        alone: Time of the model alone.
        slots: Atoms of the batches, padding included.
    """

    def __init__(self, model: FLTModel) -> None:
        super().__init__([model])
        self.alone, self.slots, self._count = Clock(), 0, 0

    def evaluate(self, data: Data, request: Request, **options: Any) -> Evaluation:
        """Return what `Ensemble.evaluate` does."""
        self._count += 1
        sizes = torch.bincount(data.batch)
        self.slots += len(sizes) * int(sizes.max())
        if self._count % 2:
            self._again(data)
        found = super().evaluate(data, request, **options)
        if not self._count % 2:
            self._again(data)
        return found

    def _again(self, data: Data) -> None:
        with self.alone, torch.no_grad():
            self.models[0](data)


def compare(
    model: FLTModel, graphs: list[Data], file: Path, out: Path
) -> dict[str, float]:
    """Return molecules a second, and what is left of the model's own speed."""
    with torch.no_grad():
        model(graphs[0])
    ensemble, both = Twice(model), Clock()
    with both, open_writer(out, ensemble) as write:
        summary = Summary(ensemble)
        for structure in summary.watch(predict_files(ensemble, [file])):
            write(structure)
    assert summary.count == len(graphs)
    assert summary.num_errors == 0
    alone = ensemble.alone.seconds
    whole = [b - a for a, b in zip(alone, both.seconds, strict=True)]
    return {
        "share_cpu": alone[0] / whole[0],
        "share_clock": alone[1] / whole[1],
        "slots_sorted_over_slots": sorted_slots([len(g.z) for g in graphs])
        / ensemble.slots,
        "model_alone_per_cpu_second": len(graphs) / alone[0],
        "predict_per_cpu_second": len(graphs) / whole[0],
    }


def peak(checkpoint: Path, file: Path, out: Path) -> float:
    """Return the largest resident memory [MiB] of a prediction of its own (Linux)."""
    words = [sys.executable, "-c", _MEMORY, checkpoint, file, "-o", out]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) / 2**10


if __name__ == "__main__":
    main()
