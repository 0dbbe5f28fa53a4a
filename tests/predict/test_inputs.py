"""What structures are read from."""

from pathlib import Path

import ase.io
import pytest
from ase.build import molecule
from ase.db import connect

import molflt
from molflt.cli import main
from molflt.data.emt.generate import ADSORPTION_ENERGY
from molflt.data.lmdb.store import write_lmdb
from molflt.data.molecule import atoms_to_graph
from molflt.errors import InputError
from molflt.predict import Structure, predict_files
from tests.builders import copper_slab, model_of
from tests.predict.tables import read_csv


@pytest.mark.parametrize("name", ["1", "nan", "1e5", "True"])
def test_files_named_like_numbers_can_stand_in_a_database(folder, name):
    ase.io.write("h2o.xyz", molecule("H2O"))
    (folder / "h2o.xyz").rename(name)
    assert main(["predict", "model.ckpt", name, "-o", "out.db"]) == 0
    assert next(connect("out.db").select()).file == f"./{name}"


def test_smiles_give_one_seeded_conformer(folder, capsys):
    (folder / "a.smi").write_text("CCO ethanol\nnot_smiles\nO\n")
    model = molflt.load("model.ckpt")
    first, bad, second = predict_files(model, ["a.smi"])
    assert first.graph.sid == "ethanol"
    assert first.atoms.get_chemical_formula() == "C2H6O"
    assert second.atoms.get_chemical_formula() == "H2O"
    assert isinstance(bad, InputError)
    assert "a.smi, molecule 1: 'not_smiles' is not a valid SMILES" in str(bad)
    again = next(predict_files(model, ["a.smi"]))
    assert again.values == first.values


@pytest.mark.parametrize(
    ("frames", "chosen"),
    [
        ("1", [1]),
        ("-1", [2]),
        ("::2", [0, 2]),
        ("1:", [1, 2]),
        (":-1", [0, 1]),
        ("::-1", [2, 1, 0]),
    ],
)
def test_frames_are_chosen(frames, chosen, folder):
    words = ["predict", "model.ckpt", "many.traj", f"--frames={frames}", "-o", "o.csv"]
    assert main(words) == 0
    rows = read_csv("o.csv")
    assert [int(row["frame"]) for row in rows] == chosen
    formulas = [a.get_chemical_formula() for a in ase.io.read("many.traj", ":")]
    assert [row["formula"] for row in rows] == [formulas[index] for index in chosen]


@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        ("7", "many.traj has no frame 7."),
        ("7:9", "many.traj has no frames from 7 to 9 by 1"),
        ("7:", "many.traj has no frame 7"),
        ("::0", "cannot take every 0th frame"),
        ("", "must be I, I:J or I:J:K"),
        ("1:2:3:4", "must be I, I:J or I:J:K"),
        ("last", "must be I, I:J or I:J:K, not 'last'"),
    ],
)
def test_frames_that_are_not_there_are_refused(frames, sentence, folder, capsys):
    assert main(["predict", "model.ckpt", "many.traj", f"--frames={frames}"]) != 0
    assert sentence in capsys.readouterr().err
    assert main(["predict", "model.ckpt", "none.traj", "--frames=7"]) == 1
    assert "No such file: none.traj" in capsys.readouterr().err


def test_lmdb_records_are_predicted_with_their_tags(folder):
    graph = atoms_to_graph(copper_slab(), tags="ase", sid="a", targets={"energy": 1.0})
    write_lmdb("data.lmdb", [graph], targets=[ADSORPTION_ENERGY])
    model = molflt.load("model.ckpt")
    (item,) = predict_files(model, ["data.lmdb"])
    assert isinstance(item, Structure)
    assert item.labels == {"energy": 1.0}
    expected = model.predict([copper_slab()])["energy"][0]
    assert item.values["energy"] == pytest.approx(expected, rel=1e-6)


def test_genuine_oc20_systems(folder, shared_data, capsys):
    elements = (13, 16, 30, 50, 72, 1, 6, 7, 8, *range(20, 84))
    molflt.save_model(model_of(elements=elements), "wide.ckpt")
    path = shared_data / "oc20" / "is2re_bs3.pt"
    assert main(["predict", "wide.ckpt", str(path), "-o", "out.csv"]) == 0
    rows = read_csv("out.csv")
    assert [row["num_atoms"] for row in rows] == ["65", "172", "24"]
    assert [row["id"] for row in rows] == ["2077917", "1302564", "1874170"]
    labels = [float(row["label_energy [eV]"]) for row in rows]
    assert labels == pytest.approx([0.8710, 0.5880, -4.9180], abs=1e-4)
    assert "pbc T T T" in capsys.readouterr().err


def test_a_byte_order_mark_is_no_number_of_atoms(folder, capsys):
    text = Path("one.xyz").read_text()
    Path("marked.xyz").write_text(text, encoding="utf-8-sig")
    assert main(["predict", "model.ckpt", "marked.xyz"]) == 0
