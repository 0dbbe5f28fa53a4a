"""The checkpoints in the package: found by name, small, and what they claim."""

import csv
import shutil
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import add_adsorbate, fcc111, molecule

import molflt
from molflt.cli import main
from molflt.data.emt.datamodule import SAMPLE
from molflt.data.emt.potential import PairEMT
from molflt.data.emt.relax import relax
from molflt.data.emt.systems import LATTICE
from molflt.data.formats.mmff import mmff_positions
from molflt.data.lmdb.store import LMDBDataset
from molflt.errors import InputError
from molflt.pretrained import FOLDER, NAMES, checkpoint_path
from molflt.structures import predict_graphs
from molflt.unit_names import unit_in_name
from molflt.units import HARTREE

LARGEST = 10_000_000  # bytes, all together
REFERENCES = {"emt-is2re": "EMT", "emt-forces": "EMT", "qm9-properties": "B3LYP"}


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
    assert any(REFERENCES[name] in spec.reference for spec in model.targets)


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


@pytest.fixture(scope="module")
def molecules():
    """The first of QM9's test set that MMFF94 has a geometry of, with their labels.

    The split is that of `benchmarks/qm9_geometries.py`.
    """
    return ase.io.read(Path(__file__).parent / "qm9_test.extxyz", ":")


@pytest.mark.parametrize("relaxed", [False, True], ids=["QM9", "MMFF94"])
def test_the_properties_of_molecules_it_has_not_seen(molecules, relaxed):
    """At QM9's geometries and at those of a force field, as it claims on average."""
    model = molflt.load("qm9-properties")
    given = [atoms.copy() for atoms in molecules]
    if relaxed:
        for atoms in given:
            atoms.positions = mmff_positions(atoms.numbers, atoms.positions)
    predicted = model.predict(given)
    assert len(predicted) == 12
    split = "val_mmff" if relaxed else "val"
    for name, values in predicted.items():
        labels = np.array([atoms.info[name] for atoms in molecules])
        unit = unit_in_name(model.target_spec(name).unit)
        claimed = model.origin["errors"][f"{split}/{name}/mae_{unit}"]
        errors = np.abs(values - labels)
        assert np.median(errors) < 2 * claimed, name
        assert errors.mean() < 4 * claimed, name


def test_small_molecules_are_learned_one_by_one():
    """They are few in QM9; at geometries near those of its labels."""
    model = molflt.load("qm9-properties")
    labels = {"CH4": (13.74, 0.0), "H2O": (9.84, 1.85), "NH3": (9.25, 1.63)}
    predicted = model.predict([molecule(name) for name in labels])
    gaps, dipoles = zip(*labels.values(), strict=True)
    assert np.abs(predicted["gap"] - gaps).max() < 0.5  # eV
    assert np.abs(predicted["mu"] - dipoles).max() < 0.2  # D


def test_smiles_are_enough_for_the_properties(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("some.smi").write_text("C methane\nc1ccccc1 benzene\nFC fluoromethane\n")
    assert main(["predict", "qm9-properties", "some.smi", "-o", "out.csv"]) == 1
    assert "has F, which the model was not trained on" in capsys.readouterr().err
    with open("out.csv", newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert rows.keys() == {"methane", "benzene"}
    for row in rows.values():
        assert float(row["predicted_mu [D]"]) < 0.1  # no dipole
        gap = float(row["predicted_lumo [eV]"]) - float(row["predicted_homo [eV]"])
        assert float(row["predicted_gap [eV]"]) == pytest.approx(gap, abs=0.4)
    # QM9's first molecule: -40.47893 hartree.
    energy = float(rows["methane"]["predicted_u0 [eV]"])
    assert energy == pytest.approx(-40.47893 * HARTREE, abs=0.3)


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
