"""Structures and files that cannot be predicted."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

import molflt
from molflt.cli import main
from molflt.data import smiles_to_atoms
from molflt.data.labels.electrons import refuse_charge_and_spin
from molflt.errors import InputError, UsageError
from molflt.model import FLTEncoder, FLTModel
from molflt.predict import Structure, predict_files
from tests.builders import model_of
from tests.predict.tables import read_csv


def test_bad_structures_do_not_stop_the_others(folder, capsys):
    broken = molecule("CO")
    broken.positions[1] = np.nan
    double = Atoms("H2", positions=np.zeros((2, 3)))
    gold = Atoms("Au")
    ase.io.write("mixed.traj", [molecule("CH4"), broken, double, gold, molecule("CO")])
    (folder / "cut.extxyz").write_text("3\n\nH 0 0 0\nH 0 0 1\n")
    inputs = ["none.xyz", "mixed.traj", "cut.extxyz", "one.xyz"]
    assert main(["predict", "model.ckpt", *inputs, "-o", "out.csv"]) == 1
    rows = read_csv("out.csv")
    assert [(row["file"], row["frame"]) for row in rows] == [
        ("mixed.traj", "0"),
        ("mixed.traj", "4"),
        ("one.xyz", "0"),
    ]
    errors = capsys.readouterr().err
    assert "No such file: none.xyz" in errors
    assert "mixed.traj, frame 1: positions" in errors
    assert "mixed.traj, frame 2: atoms 0 (H) and 1 (H) are at one place" in errors
    assert "mixed.traj, frame 3 has Au" in errors
    assert "cut.extxyz, frame 0" in errors
    assert "5 structures, files or targets could not be used" in errors


@pytest.mark.parametrize("error", [UsageError, RuntimeError, MemoryError])
@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_a_structure_the_model_fails_on_is_named(
    folder, monkeypatch, error, batch_size
):
    model = molflt.load("model.ckpt")
    forward = FLTEncoder.forward

    def fails_on_ammonia(self, batch, **options):
        if (batch.z == 7).any():
            raise error("no nitrogen")
        return forward(self, batch, **options)

    monkeypatch.setattr(FLTEncoder, "forward", fails_on_ammonia)
    files = ["many.traj", "one.xyz"]
    items = list(predict_files(model, files, batch_size=batch_size))
    assert [isinstance(item, Structure) for item in items] == [True, False, True, True]
    assert str(items[1]).startswith("many.traj, frame 1: ")
    assert "no nitrogen" in str(items[1])
    good = model.predict([molecule(name) for name in ("CH4", "CO", "H2O")])["energy"]
    values = [item.values["energy"] for item in items if isinstance(item, Structure)]
    np.testing.assert_allclose(values, good, rtol=1e-6)


def test_whatever_a_file_raises_is_an_error_of_the_file(folder):
    (folder / "tags.xyz").write_text(
        "1\nProperties=species:S:1:pos:R:3:tags:S:1\nO 0 0 0 a\n"
    )
    (folder / "folder.pt").mkdir()
    names = ["tags.xyz", "folder.pt", "one.xyz"]
    *bad, good = predict_files(molflt.load("model.ckpt"), names)
    assert isinstance(good, Structure)
    for name, item in zip(names, bad, strict=False):
        assert isinstance(item, InputError)
        assert name in str(item)


def test_charged_and_open_shell_structures_are_left_out(folder, capsys):
    (folder / "a.smi").write_text("[NH4+]\nO\n[CH3]\nC[N+](=O)[O-]\n")
    ase.io.write("o2.traj", molecule("O2"))
    assert main(["predict", "model.ckpt", "a.smi", "o2.traj", "-o", "out.csv"]) == 1
    formulas = [row["formula"] for row in read_csv("out.csv")]
    assert formulas == ["H2O", "CH3NO2"]
    printed = capsys.readouterr().err
    for words in ("a.smi, molecule 0 has the charge 1", "molecule 2 has the multip"):
        assert words in printed
    assert "o2.traj, frame 0 has the magnetic moment 2" in printed


CHARGES = [1, -1.0, "+1", "-2", "1+", "2-", "-", True, np.array([1])]


@pytest.mark.parametrize("charge", CHARGES)
def test_a_charge_is_seen_however_it_is_written(charge):
    atoms = molecule("H2O")
    atoms.info["charge"] = charge
    with pytest.raises(InputError, match="has the charge"):
        refuse_charge_and_spin(atoms)
    for nothing in ("0", "", "None", None, 0, False, "0+"):
        atoms.info["charge"] = nothing
        refuse_charge_and_spin(atoms)


def test_what_a_row_of_a_database_has_besides_is_seen():
    atoms = molecule("H2O")
    for key in ("data", "key_value_pairs"):
        atoms.info = {key: {"Net_Charge": -1}}
        with pytest.raises(InputError, match="the charge -1 .info.'Net_Charge'"):
            refuse_charge_and_spin(atoms)


def test_a_spin_in_words_is_no_number():
    atoms = molecule("H2O")
    atoms.info["multiplicity"] = "doublet"
    with pytest.raises(InputError, match="'doublet', which is no number"):
        refuse_charge_and_spin(atoms)


def test_all_failures_are_named_in_a_file(folder, capsys):
    charged = molecule("H2O")
    charged.info["charge"] = 1
    ase.io.write("charged.xyz", [charged] * 12 + [molecule("H2O")])
    words = ["predict", "model.ckpt", "charged.xyz", "-o", "out.csv"]
    assert main(words) == 1
    printed = capsys.readouterr().err
    assert printed.count("has the charge") == 10
    assert "12 structures, files or targets could not be used; out.csv.f" in printed
    named = Path("out.csv.failed.txt").read_text().splitlines()
    assert [f"frame {i} has" in named[i] for i in range(12)] == [True] * 12
    ase.io.write("charged.xyz", [charged, molecule("H2O")])
    assert main(words) == 1
    assert not Path("out.csv.failed.txt").exists()  # of another run


def test_a_smiles_is_no_structure_and_the_error_says_how_to_make_one():
    model = model_of()
    with pytest.raises(
        UsageError, match=r"Structure 1 .*molflt\.data\.smiles_to_atoms"
    ):
        model.predict([molecule("H2O"), "CCO"])
    conformer = smiles_to_atoms("CCO")
    assert len(model.predict([molecule("H2O"), conformer])["energy"]) == 2


def test_a_bad_structure_is_named_by_its_number_and_formula(monkeypatch):
    model, good = model_of(), molecule("H2O")
    charged = molecule("NH3")
    charged.info["charge"] = 1
    with pytest.raises(InputError, match=r"^Structure 3 \(H3N\) has the charge"):
        model.predict([good, good, good, charged])
    ghost = Atoms([300], positions=[[0, 0, 0]])
    with pytest.raises(InputError, match=r"^Structure 1\b"):
        model.predict([good, ghost])
    forward = FLTModel.forward

    def without_ammonia(self, batch, *args, **options):
        found = forward(self, batch, *args, **options)
        for row, graph in enumerate(batch.to_data_list()):
            if 7 in graph.z:
                found["energy"][row] = float("nan")
        return found

    monkeypatch.setattr(FLTModel, "forward", without_ammonia)
    named = molecule("NH3")
    named.info["sid"] = "mine"
    for size in (1, 2, 32):  # the number is that in the list, not in the batch
        with pytest.raises(InputError, match=r"structure 3 \(H3N, mine\) is not a fin"):
            model.predict([good, good, good, named, good], batch_size=size)
