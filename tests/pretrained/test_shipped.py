"""The two checkpoints in the package: found by name, small, and what they claim."""

import shutil

import ase.io
import numpy as np
import pytest
from ase.build import add_adsorbate, fcc111, molecule

import molflt
from molflt.cli import main
from molflt.data.emt import SAMPLE
from molflt.data.emt_potential import PairEMT
from molflt.data.emt_relax import relax
from molflt.data.emt_systems import LATTICE
from molflt.data.lmdb import LMDBDataset
from molflt.errors import InputError
from molflt.pretrained import FOLDER, NAMES, checkpoint_path
from molflt.structures import predict_graphs

LARGEST = 5_000_000  # bytes, both together


def carbon_monoxide_on_copper():
    slab = fcc111("Cu", (3, 3, 4), a=LATTICE["Cu"], vacuum=9.0)
    add_adsorbate(slab, molecule("CO"), 1.9, "ontop", mol_index=1)
    slab.info = {}
    return slab


def test_they_are_small_and_there_are_no_others():
    files = sorted(FOLDER.glob("*.ckpt"))
    assert [path.stem for path in files] == sorted(NAMES)
    assert sum(path.stat().st_size for path in files) <= LARGEST


@pytest.mark.parametrize("name", NAMES)
def test_each_says_where_it_comes_from(name):
    model = molflt.load(name)
    origin = model.origin
    assert origin["name"] == name
    assert {"data", "command", "commit", "date", "machine", "versions"} < set(origin)
    assert "dirty" not in origin["commit"]
    assert origin["training"]["structures"] >= 4000
    assert "EMT" in model.targets[0].reference


def test_the_errors_it_claims_are_those_on_the_sample():
    if not SAMPLE.is_dir():
        pytest.skip("the sample comes with the repository")
    model = molflt.load("emt-is2re")
    for split in ("val_id", "val_ood_cat"):
        graphs = list(LMDBDataset(SAMPLE / f"{split}.lmdb"))
        labels = np.array([float(graph.energy) for graph in graphs])
        mae = np.abs(predict_graphs(model, graphs)["energy"] - labels).mean()
        claimed = model.origin["errors"][f"{split}/energy/mae_eV"]
        assert mae == pytest.approx(claimed, rel=1e-3)
        assert mae < 0.1


def test_the_force_field_is_emt_near_and_far_from_minima():
    calculator = molflt.FLTCalculator("emt-forces")
    start = carbon_monoxide_on_copper()
    atoms = relax(start).atoms
    atoms.set_constraint()
    seen = []
    for spread in (0.0, 0.05):
        moved = atoms.copy()
        moved.rattle(spread, seed=1)
        exact = moved.copy()
        exact.calc, moved.calc = PairEMT(), calculator
        difference = moved.get_potential_energy() - exact.get_potential_energy()
        assert abs(difference) < 0.15
        error = np.abs(moved.get_forces() - exact.get_forces()).mean()
        assert error < 0.03
        seen.append(np.abs(exact.get_forces()).mean())
    assert seen[1] > 0.2  # where forces are large, too


def test_tags_say_nothing_to_the_force_field():
    atoms = carbon_monoxide_on_copper()
    atoms.calc = molflt.FLTCalculator("emt-forces")
    energy = atoms.get_potential_energy()
    atoms.set_tags(0)
    assert atoms.get_potential_energy() == energy


def test_commands_take_the_names(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ase.io.write("slab.extxyz", carbon_monoxide_on_copper())
    assert main(["predict", "emt-is2re", "slab.extxyz"]) == 0
    shown = capsys.readouterr()
    assert "emt-is2re, trained on the sample" in shown.err
    predicted = float(shown.out.split()[-1])
    calculator = molflt.FLTCalculator("emt-is2re")
    slab = ase.io.read("slab.extxyz")
    assert predicted == pytest.approx(calculator.get_property("energy", slab), abs=1e-4)
    words = ["emt-forces", "slab.extxyz", "-o", "relaxed.extxyz", "--steps", "500"]
    assert main(["relax", *words]) == 0
    forces = ase.io.read("relaxed.extxyz").get_forces()
    assert np.linalg.norm(forces, axis=1).max() <= 0.05
    assert main(["relax", "--help"]) == 0
    shown = "".join(capsys.readouterr().out.split())  # lines break at hyphens
    assert all(name in shown for name in NAMES)
    assert main(["relax", "emt-is2re", "slab.extxyz", "-o", "no.extxyz"]) == 2


def test_an_ensemble_of_names(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ase.io.write("slab.extxyz", carbon_monoxide_on_copper())
    shutil.copy(checkpoint_path("emt-is2re"), "same.ckpt")
    assert main(["predict", "same.ckpt", "emt-is2re", "slab.extxyz"]) == 0
    assert float(capsys.readouterr().out.split()[-1]) == 0.0


def test_names_are_told_where_a_file_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"emt-is2r does not exist.*emt-is2re or emt-"):
        molflt.load("emt-is2r")
    (tmp_path / "emt-is2re").write_text("mine")
    assert checkpoint_path("emt-is2re").name == "emt-is2re"
    with pytest.raises(InputError, match="not a molflt checkpoint"):
        molflt.load("emt-is2re")
