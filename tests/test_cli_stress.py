"""Training on the stress of crystals among clusters, from a file to predictions."""

import csv
import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from molflt.cli import main

CONFIG = {
    "name": "mixed",
    "model": {
        "encoder": {
            "class_path": "molflt.FLTEncoder",
            "init_args": {
                "width": 8,
                "num_layers": 1,
                "num_near_heads": 2,
                "num_far_heads": 0,
            },
        },
        "force_weight": 1.0,
        "stress_weight": 1.0,
    },
    "checkpoint": {"monitor": "val/energy/mae_eV"},
    "trainer": {"max_steps": 6, "accelerator": "cpu", "log_every_n_steps": 1},
}
STRESS = "energy/stress_mae_eV_per_A3"


def frames(number):
    """Crystals with EMT's stress; every other frame is a cluster without one."""
    rng = np.random.default_rng(number)
    for index in range(number):
        if index % 2:
            atoms = bulk("Cu", cubic=True)
            change = np.eye(3) + rng.normal(0, 0.02, (3, 3))
            atoms.set_cell(atoms.cell @ change, scale_atoms=True)
        else:
            atoms = molecule("CO") if index % 4 else bulk("Cu", cubic=True)
            atoms.pbc, atoms.cell = False, np.zeros((3, 3))
        atoms.rattle(0.05, rng=rng)
        atoms.calc = EMT()
        labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        if atoms.pbc.all():
            labels["stress"] = atoms.get_stress()
        atoms.calc = SinglePointCalculator(atoms, **labels)
        yield atoms


@pytest.mark.parametrize("converted", [False, True])
def test_crystals_and_clusters_are_trained_together(
    converted, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    ase.io.write("train.extxyz", list(frames(16)))
    ase.io.write("val.extxyz", list(frames(6)))
    assert main(["data", "check", "train.extxyz", "--stress"]) == 0
    suffix, options = "extxyz", {"stress": True}
    if converted:
        suffix, options = "lmdb", {}
        for name in ("train", "val"):
            words = ["data", "convert", f"{name}.extxyz", f"{name}.lmdb", "--stress"]
            assert main(words) == 0
        assert main(["data", "check", "train.lmdb"]) == 0
    options |= {"train": f"train.{suffix}", "val": f"val.{suffix}", "batch_size": 4}
    data = {"class_path": "molflt.data.AtomsFiles", "init_args": options}
    Path("mixed.yaml").write_text(json.dumps(CONFIG | {"data": data}))
    assert main(["fit", "--config", "mixed.yaml"]) == 0, capsys.readouterr().err
    (run,) = Path("runs/mixed").glob("version_*")
    with open(run / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    for name in ("train/loss", f"val/{STRESS}", "val/energy/force_mae_eV_per_A"):
        values = [float(row[name]) for row in rows if row[name]]
        assert values
        assert np.isfinite(values).all()
    capsys.readouterr()
    (best,) = run.rglob("best.ckpt")
    for file, out in ((f"val.{suffix}", "a.extxyz"), ("val.extxyz", "a.db")):
        words = ["predict", str(best), file, "--stress", "--forces", "-o", out]
        assert main(words) == 0
        said = capsys.readouterr().err
        assert "3 structures have no stress" in said
        assert "against 3 labels in the input" in said
        assert "nan" not in said.lower()
    found = ase.io.read("a.extxyz", ":")
    has = ["predicted_stress" in atoms.info for atoms in found]
    assert has == [False, True] * 3
    options |= {"test": options["val"]}
    Path("mixed.yaml").write_text(json.dumps(CONFIG | {"data": data}))
    assert main(["test", "--config", "mixed.yaml", "--ckpt_path", str(best)]) == 0
    assert "stress MAE" in capsys.readouterr().out
