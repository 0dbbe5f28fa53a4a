"""How much of a model's own speed is left of `molflt predict`, and its memory.

    python benchmarks/predict_throughput.py --molecules 10000

Molecules with the sizes and elements of QM9 (random chains, 10 to 27 atoms) are written
to an extended XYZ file. Compared are (1) the model alone on batches that are made
beforehand, sorted by size, and (2) the whole of ``molflt predict`` from that file to a
CSV file: reading, checks, batches, model, writing. The largest resident memory is
compared between a file and one eight times as long. One process, one thread; seconds
are of CPU time; about three minutes. Writes results/predict_throughput.json.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ase.io
import numpy as np
import torch
from ase import Atoms
from record import write_result
from torch_geometric.data import Batch

from molflt.checkpoint import load, save_model
from molflt.commands.predict import predict
from molflt.data.molecule import atoms_to_graph
from molflt.model import FLTEncoder, FLTModel
from molflt.predict import BATCH_ATOMS
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
    parser.add_argument("--molecules", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        content = measure(Path(name), options)
    print(write_result("predict_throughput", content))


def measure(folder: Path, options: argparse.Namespace) -> dict:
    """Return molecules a second, alone and in all, and the memory of two lengths."""
    checkpoint, file, out = (folder / n for n in ("m.ckpt", "m.extxyz", "out.csv"))
    save_model(make_model(options.width, options.layers), checkpoint)
    molecules = [chain(seed) for seed in range(options.molecules)]
    ase.io.write(file, molecules)
    model = load(checkpoint)
    alone = bare(model, molecules)
    started = time.process_time()
    assert predict(checkpoint, [str(file)], out, device="cpu") == 0
    seconds = time.process_time() - started
    del molecules
    small = max(1, options.molecules // 10)
    peaks = {}
    for factor in (1, 8):
        part = folder / f"{factor}.extxyz"
        ase.io.write(part, [chain(seed) for seed in range(factor * small)])
        peaks[factor * small] = peak(checkpoint, part, out)
    return {
        "molecules": options.molecules,
        "parameters": model.num_parameters,
        "model_alone_per_second": options.molecules / alone,
        "predict_per_second": options.molecules / seconds,
        "share": alone / seconds,
        "peak_memory_MiB_by_molecules": peaks,
    }


def make_model(width: int, layers: int) -> FLTModel:
    """Return an untrained model of the usual size."""
    model = FLTModel(FLTEncoder(width=width, num_layers=layers), [TargetSpec("energy")])
    statistics = {"element_reference": {}, "mean": 0.0, "std": 1.0}
    model.set_statistics("energy", statistics | {"elements": [1, 6, 7, 8]})
    return model.eval()


def chain(seed: int) -> Atoms:
    """Return atoms along a random walk that does not meet itself, about as in QM9."""
    rng = np.random.default_rng(seed)
    size = int(np.clip(round(rng.normal(18, 3)), 10, 27))
    places = np.zeros((size, 3))
    for atom in range(1, size):
        while True:
            step = rng.normal(size=3)
            places[atom] = (
                places[rng.integers(atom)] + 1.3 * step / np.sum(step**2) ** 0.5
            )
            gaps = np.linalg.norm(places[:atom] - places[atom], axis=1)
            if gaps.min() > 0.9:
                break
    return Atoms(rng.choice([1, 1, 6, 7, 8], size), places)


@torch.no_grad()
def bare(model: FLTModel, molecules: list[Atoms]) -> float:
    """Return the seconds of the model alone, on batches made before."""
    graphs = [atoms_to_graph(atoms) for atoms in molecules]
    graphs.sort(key=lambda graph: len(graph.z))
    batches, start = [], 0
    while start < len(graphs):
        size = max(1, BATCH_ATOMS["cpu"] // len(graphs[start].z))
        batches.append(Batch.from_data_list(graphs[start : start + size]))
        start += size
    model(batches[0])
    started = time.process_time()
    for batch in batches:
        model(batch)
    return time.process_time() - started


def peak(checkpoint: Path, file: Path, out: Path) -> float:
    """Return the largest resident memory [MiB] of a prediction of its own (Linux)."""
    words = [sys.executable, "-c", _MEMORY, checkpoint, file, "-o", out]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) / 2**10


if __name__ == "__main__":
    main()
