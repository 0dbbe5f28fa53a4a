"""Does a force field keep the energy? Ethanol trained on rMD17, 20,000 steps of 0.5 fs.

    python benchmarks/nve.py --root DIR [--epochs 190]
    python benchmarks/nve.py --root DIR --checkpoint runs/ethanol/.../best.ckpt

Without a checkpoint a model is trained first with configs/rmd17.yaml on 950 geometries;
its test errors are on the 1,000 of the same split. examples/molecular_dynamics.py then
brings a test geometry to 300 K (Langevin) and moves it on at constant energy, in
float64. Writes results/nve.json: slope of a line fitted to the total energy, and the
root mean square about it.
"""

import argparse
import importlib.util
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from record import write_result

import molflt
from molflt.data import RMD17
from molflt.data.molecule import graph_to_atoms
from molflt.training.objective import Objective

ROOT = Path(__file__).resolve().parent.parent


def main(words: list[str] | None = None) -> dict[str, Any]:
    """Train unless there is a checkpoint, run, write; return what is written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--root", type=Path, required=True, help="folder of revised MD17")
    add("--molecule", default="ethanol")
    add("--checkpoint", type=Path, help="of an earlier training")
    add("--epochs", type=int, default=190, help="190: half an hour")
    add("--runs", type=Path, default=Path("runs"), help="folder of the training")
    add("--steps", type=int, default=20_000, help="steps at constant energy")
    add("--langevin-steps", type=int, default=2_000)
    add("--time-step", type=float, default=0.5, help="in fs")
    add("--temperature", type=float, default=300.0, help="in K")
    add("--seed", type=int, default=0)
    add("--threads", type=int, default=1)
    options = parser.parse_args(words)
    torch.set_num_threads(options.threads)

    path = options.checkpoint or trained(options)
    data = RMD17(options.root, options.molecule, num_val=0, eval_batch_size=50)
    data.setup()
    example = molecular_dynamics()
    atoms = graph_to_atoms(data.test["test"][0])
    atoms.calc = molflt.FLTCalculator(path, dtype=torch.float64)
    rng = np.random.default_rng(options.seed)
    options.trajectory = None
    started = time.perf_counter()
    example.heat(atoms, options, rng)
    energies, kelvins = example.move(atoms, options)
    seconds = time.perf_counter() - started
    times = np.arange(len(energies)) * options.time_step * 1e-3
    slope, rms = example.drift(times, energies / len(atoms))
    result = {
        "molecule": options.molecule,
        "training": training_of(path),
        "test": test_errors(molflt.load(path), data),
        "steps": options.steps,
        "time_step_fs": options.time_step,
        "picoseconds": float(times[-1]),
        "precision": "float64",
        "temperature_mean_K": float(np.mean(kelvins)),
        "slope_meV_per_atom_ps": 1e3 * slope,
        "rms_about_the_line_meV_per_atom": 1e3 * rms,
        "longest_bond_A": longest_bond(atoms),
        "ms_per_step": 1e3 * seconds / (options.steps + options.langevin_steps),
        "threads": options.threads,
    }
    for name, value in result.items():
        print(f"{name}: {value}")
    print(write_result("nve", result))
    return result


def trained(options: argparse.Namespace) -> Path:
    """Train with the configuration of the repository; return the best checkpoint."""
    before = set(options.runs.glob(f"{options.molecule}/*/checkpoints/best.ckpt"))
    line = [
        *("fit", "--config", str(ROOT / "configs" / "rmd17.yaml")),
        *("--data.init_args.root", str(options.root)),
        *("--data.init_args.molecule", options.molecule),
        *("--trainer.max_epochs", str(options.epochs)),
        *("--trainer.check_val_every_n_epoch", "5"),
        *("--trainer.accelerator", "cpu"),
        *("--runs", str(options.runs), "--name", options.molecule),
    ]
    subprocess.run([sys.executable, "-m", "molflt", *line], check=True)
    after = set(options.runs.glob(f"{options.molecule}/*/checkpoints/best.ckpt"))
    (path,) = after - before
    return path


def training_of(path: Path) -> dict[str, Any]:
    """Return steps and epochs that a checkpoint of a run says it has seen."""
    content = torch.load(path, map_location="cpu", weights_only=True)
    model = molflt.load(path)
    return {
        "geometries": next(iter(model.statistics.values())).get("num_structures"),
        "parameters": model.num_parameters,
        "epochs_of_the_best": content.get("epoch", -1) + 1,
        "steps_of_the_best": content.get("global_step"),
    }


def test_errors(model: molflt.FLTModel, data: RMD17) -> dict[str, float]:
    """Return the mean absolute errors of energy and forces on the test geometries."""
    objective = Objective(model.encoder, force_weight=1.0)
    energy, force = [], []
    for batch in data.test_dataloader()[0]:
        errors = objective(model, batch).errors
        energy.append(errors["energy/mae_eV"].values.abs())
        force.append(errors["energy/force_mae_eV_per_A"].values)
    return {
        "geometries": len(data.test["test"]),
        "energy_mae_meV": 1e3 * float(torch.cat(energy).mean()),
        "force_mae_meV_per_A": 1e3 * float(torch.cat(force).mean()),
    }


def longest_bond(atoms: Any) -> float:
    """Return the largest distance [Å] of an atom from its nearest: is it whole?"""
    distances = atoms.get_all_distances() + np.diag(np.full(len(atoms), np.inf))
    return float(distances.min(axis=1).max())


def molecular_dynamics() -> ModuleType:
    """Return examples/molecular_dynamics.py as a module."""
    path = ROOT / "examples" / "molecular_dynamics.py"
    spec = importlib.util.spec_from_file_location("molecular_dynamics", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
