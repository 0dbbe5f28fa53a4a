"""Relax slabs with the shipped force field: does it end where EMT itself ends?

    python benchmarks/emt_relaxation.py [--systems 50] [--threads 2]

The initial structures are the first of the sample's val_id, which no model was trained
on; the sample's relaxed positions are EMT's own minima. Two energies are compared with
EMT's energy there:

- `model`: the model's own energy of its own minimum, what one has without EMT;
- `emt_at_model_minimum`: EMT's energy of the model's minimum, which says how good the
  geometry is (negative differences: the model's path led to a lower minimum).

Writes results/emt_relaxation.json, with the time of the relaxation alone.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch
from record import write_result

from molflt.data.emt.datamodule import find_root
from molflt.data.emt.potential import PairEMT
from molflt.data.lmdb.store import LMDBDataset
from molflt.data.molecule import graph_to_atoms
from molflt.domain import Domain
from molflt.evaluation import Ensemble
from molflt.read_structures import read_structures
from molflt.relax.relaxation import Job, Relaxer, Settings

LARGE = 0.1  # eV


def main(words: list[str] | None = None) -> dict[str, Any]:
    """Relax, compare, write; return what is written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--checkpoint", default="emt-forces", help="default: the shipped one")
    add("--split", default="val_id")
    add("--systems", type=int, default=50)
    add("--root", type=Path, help="folder of the sample; default: the shipped one")
    add("--fmax", type=float, default=0.03, help="eV/Å, as the sample was relaxed")
    add("--steps", type=int, default=500)
    add("--optimizer", default="fire")
    add("--threads", type=int, default=2)
    options = parser.parse_args(words)
    torch.set_num_threads(options.threads)

    ensemble = Ensemble([options.checkpoint])
    path = find_root(options.root) / f"{options.split}.lmdb"
    structures = read_structures(path, (), Domain(ensemble.models))
    jobs = [Job(k, s) for k, s in zip(range(options.systems), structures, strict=False)]
    settings = Settings(options.fmax, options.steps, options.optimizer)
    started = time.perf_counter()
    done = list(Relaxer(ensemble, "energy", settings).run(iter(jobs)))
    seconds = time.perf_counter() - started
    if failed := [job for job in done if not isinstance(job, Job)]:
        raise SystemExit(str(failed[0]))

    graphs = LMDBDataset(path)
    rows = []
    for job in sorted(done, key=lambda job: job.index):
        atoms = graph_to_atoms(graphs[job.index])
        atoms.positions = graphs[job.index].pos_relaxed.numpy()
        exact = emt_energy(atoms)
        moved = job.atoms.positions - atoms.positions
        rows.append(
            {
                "sid": graphs[job.index].sid,
                "atoms": len(atoms),
                "steps": job.steps,
                "converged": job.converged,
                "emt_relaxed_eV": exact,
                "model_eV": job.atoms.calc.results["energy"],
                "emt_at_model_minimum_eV": emt_energy(job.atoms),
                "largest_distance_A": float(np.linalg.norm(moved, axis=1).max()),
            }
        )
    result = {
        "checkpoint": str(options.checkpoint),
        "origin": ensemble.models[0].origin,
        "split": options.split,
        "systems": len(rows),
        "fmax_eV_per_A": options.fmax,
        "optimizer": options.optimizer,
        "threads": options.threads,
        "seconds": round(seconds, 2),
        "steps_mean": float(np.mean([row["steps"] for row in rows])),
        "converged": sum(row["converged"] for row in rows),
        "model": differences(rows, "model_eV"),
        "emt_at_model_minimum": differences(rows, "emt_at_model_minimum_eV"),
        "rows": rows,
    }
    for name in ("model", "emt_at_model_minimum"):
        print(f"{name}: {result[name]}")
    print(f"{result['converged']} of {len(rows)} relaxed in {seconds:.1f} s")
    print(write_result("emt_relaxation", result))
    return result


def emt_energy(atoms: ase.Atoms) -> float:
    """Return EMT's total energy [eV]."""
    atoms = atoms.copy()
    atoms.calc = PairEMT()
    return float(atoms.get_potential_energy())


def differences(rows: list[dict[str, Any]], name: str) -> dict[str, float]:
    """Return what differences from EMT's own relaxed energies are like [eV]."""
    values = np.array([row[name] - row["emt_relaxed_eV"] for row in rows])
    return {
        "mean_absolute_eV": float(np.abs(values).mean()),
        "median_absolute_eV": float(np.median(np.abs(values))),
        "mean_eV": float(values.mean()),
        "largest_absolute_eV": float(np.abs(values).max()),
        "share_above_0.1_eV": float((np.abs(values) > LARGE).mean()),
    }


if __name__ == "__main__":
    main()
