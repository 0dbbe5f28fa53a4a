"""Files that predictions are written to."""

import os

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.db import connect
from rdkit import Chem
from rdkit.Chem.rdDistGeom import EmbedMolecule

import molflt
from molflt.cli import main
from molflt.data.emt.generate import ADSORPTION_ENERGY
from molflt.predict import Structure, predict_files
from tests.builders import copper_slab
from tests.predict.tables import read_csv


@pytest.mark.parametrize("suffix", ["csv", "extxyz", "db"])
def test_outputs_hold_energies_units_and_references(suffix, folder, capsys):
    out = f"out.{suffix}"
    assert main(["predict", "model.ckpt", "many.traj", "slab.traj", "-o", out]) == 0
    model = molflt.load("model.ckpt")
    structures = [*ase.io.read("many.traj", ":"), copper_slab()]
    expected = model.predict(structures)["energy"]
    reference = ADSORPTION_ENERGY.reference
    if suffix == "csv":
        rows = read_csv(out)
        values = [float(row["predicted_energy [eV]"]) for row in rows]
        assert rows[3]["pbc"] == "TTF"
        assert rows[0]["reference_energy"] == reference
    elif suffix == "extxyz":
        frames = ase.io.read(out, ":")
        values = [atoms.info["predicted_energy"] for atoms in frames]
        assert frames[0].info["predicted_energy_unit"] == "eV"
        assert frames[0].info["predicted_energy_reference"] == reference
        np.testing.assert_allclose(
            frames[3].positions, copper_slab().positions, atol=1e-7
        )
        assert list(frames[3].get_tags()) == list(copper_slab().get_tags())
    else:
        rows = list(connect(out).select())
        values = [row.predicted_energy for row in rows]
        meaning = connect(out).metadata["predicted_energy"]
        assert meaning == {"unit": "eV", "zero": reference}
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    printed = capsys.readouterr().err
    assert reference in printed
    assert "ase.build layers" in printed
    assert "pbc T T F\n" in printed
    assert "pbc F F F\n" in printed


@pytest.mark.parametrize("suffix", ["extxyz", "db"])
def test_an_output_that_is_an_input_is_refused(suffix, folder, capsys):
    name = f"in.{suffix}"
    ase.io.write(name, [molecule("CO"), Atoms("H2", positions=np.zeros((2, 3)))])
    before = (folder / name).read_bytes()
    os.symlink(name, f"link.{suffix}")
    for out in (name, f"./{name}", f"link.{suffix}"):
        assert main(["predict", "none.ckpt", "one.xyz", name, "-o", out]) == 2
        assert f"is the input {name}" in capsys.readouterr().err
    assert (folder / name).read_bytes() == before


def test_table_without_output(folder, capsys):
    assert main(["predict", "model.ckpt", "one.xyz"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["structure", "formula", "energy", "[eV]", "id"]
    value = molflt.load("model.ckpt").predict([molecule("H2O")])["energy"][0]
    assert row.split() == ["one.xyz:0", "H2O", f"{value:.6f}"]
    (folder / "two.smi").write_text("O water\nC\n")
    assert main(["predict", "model.ckpt", "two.smi"]) == 0
    _, *rows = capsys.readouterr().out.splitlines()
    assert [row.split()[-1] for row in rows] == ["water", "C"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk_leaves_the_old_file(folder, monkeypatch, capsys):
    assert main(["predict", "model.ckpt", "one.xyz", "-o", "out.csv"]) == 0
    before = (folder / "out.csv").read_text()
    files = set(os.listdir())
    full = open

    def on_full_disk(path, mode="r", *args, **options):
        return full("/dev/full" if "w" in mode else path, mode, *args, **options)

    monkeypatch.setattr("builtins.open", on_full_disk)
    assert main(["predict", "model.ckpt", "many.traj", "-o", "out.csv"]) == 1
    monkeypatch.undo()
    assert "No space left on device" in capsys.readouterr().err
    os.chdir(folder)
    assert (folder / "out.csv").read_text() == before
    assert set(os.listdir()) == files


def test_all_formats(folder):
    """What ASE and RDKit write is read, each in its own way."""
    water = molecule("H2O")
    water.info.clear()
    names = ["a.extxyz", "a.xyz", "a.traj", "a.db", "a.json"]
    for name in names:
        ase.io.write(name, water)
    ase.io.write("POSCAR", copper_slab(), format="vasp")
    ase.io.write("a.cif", copper_slab())
    mol = Chem.AddHs(Chem.MolFromSmiles("O"))
    EmbedMolecule(mol, randomSeed=1)
    Chem.MolToMolFile(mol, "a.mol")
    model = molflt.load("model.ckpt")
    items = list(predict_files(model, [*names, "POSCAR", "a.cif", "a.mol"]))
    assert all(isinstance(item, Structure) for item in items), items
    values = [item.values["energy"] for item in items]
    np.testing.assert_allclose(values[: len(names)], values[0], rtol=1e-5)
    assert items[-1].atoms.get_chemical_formula() == "H2O"


def test_a_database_keeps_what_is_known_of_a_structure(folder):
    atoms = molecule("H2O")
    atoms.info |= {"name": "water", "temperature": 300.0, "pH value": 7}
    atoms.info |= {"ok": True, "cut": np.eye(2), "words": np.array(["a", "b"])}
    ase.io.write("water.extxyz", atoms)
    assert main(["predict", "model.ckpt", "water.extxyz", "-o", "out.db"]) == 0
    (row,) = connect("out.db").select()
    assert row.data["name"] == "water"
    assert row.data["temperature"] == 300
    assert row.data["pH value"] == 7
    np.testing.assert_array_equal(row.data["cut"], np.eye(2))
    assert row.data["ok"] in (True, "T")
    assert "predicted_energy" in row


def test_key_value_pairs_of_a_database_stay(folder):
    """They are what a user tells structures apart by; older predictions are not."""
    pairs = {"name": "water", "batch": 7, "ok": True, "file": "old.traj"}
    with connect("in.db") as database:
        database.write(molecule("H2O"), **pairs, predicted_energy=1.0)
    for out in ("out.extxyz", "out.db"):
        assert main(["predict", "model.ckpt", "in.db", "-o", out]) == 0
    energy = molflt.load("model.ckpt").predict([molecule("H2O")])["energy"][0]
    (row,) = connect("out.db").select()
    assert row.data.keys() <= {"unique_id"}
    info = ase.io.read("out.extxyz").info
    for found, file in ((row.key_value_pairs, "in.db"), (info, "old.traj")):
        assert found.items() >= (pairs | {"file": file}).items()
        assert found["predicted_energy"] == pytest.approx(energy, rel=1e-6)
