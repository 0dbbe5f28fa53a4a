import csv
import os

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, fcc111, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

import molflt
from molflt.cli import main
from molflt.data.emt_generate import ADSORPTION_ENERGY
from molflt.data.lmdb import write_lmdb
from molflt.data.molecule import atoms_to_graph
from molflt.errors import InputError, UsageError
from molflt.model import FLTEncoder, FLTModel
from molflt.predict import Structure, predict_files


def make_model(*targets, elements=(1, 6, 7, 8, 29)) -> FLTModel:
    encoder = FLTEncoder(width=16, num_layers=1, num_near_heads=2, num_far_heads=1)
    model = FLTModel(encoder, targets or [ADSORPTION_ENERGY])
    for spec in model.targets:
        reference = {z: -0.1 * z for z in elements}
        statistics = {"element_reference": reference, "mean": 0.0, "std": 2.0}
        statistics |= {"elements": list(elements), "pbc_seen": [[True, True, False]]}
        model.set_statistics(spec.name, statistics)
    return model.eval()


def slab() -> Atoms:
    atoms = fcc111("Cu", (2, 2, 3), vacuum=6.0)
    add_adsorbate(atoms, "O", 1.3, "fcc")
    return atoms


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a checkpoint and structure files."""
    monkeypatch.chdir(tmp_path)
    molflt.save_model(make_model(), "model.ckpt")
    ase.io.write("one.xyz", molecule("H2O"))
    ase.io.write("many.traj", [molecule(name) for name in ("CH4", "NH3", "CO")])
    ase.io.write("slab.traj", slab())
    return tmp_path


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_order_and_values_do_not_depend_on_batches(folder):
    model = molflt.load("model.ckpt")
    files = ["many.traj", "slab.traj", "one.xyz"]
    structures = [*ase.io.read("many.traj", ":"), slab(), molecule("H2O")]
    expected = model.predict(structures)["energy"]
    for batch_size in (1, 2, 100):
        items = list(predict_files(model, files, batch_size=batch_size))
        assert [(item.file, item.frame) for item in items] == [
            ("many.traj", 0),
            ("many.traj", 1),
            ("many.traj", 2),
            ("slab.traj", 0),
            ("one.xyz", 0),
        ]
        values = [item.values["energy"] for item in items]
        np.testing.assert_allclose(values, expected, rtol=1e-6)


@pytest.mark.parametrize("suffix", ["csv", "extxyz", "db"])
def test_outputs_hold_energies_units_and_references(suffix, folder, capsys):
    out = f"out.{suffix}"
    assert main(["predict", "model.ckpt", "many.traj", "slab.traj", "-o", out]) == 0
    model = molflt.load("model.ckpt")
    structures = [*ase.io.read("many.traj", ":"), slab()]
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
        np.testing.assert_allclose(frames[3].positions, slab().positions, atol=1e-7)
        assert list(frames[3].get_tags()) == list(slab().get_tags())
    else:
        rows = list(connect(out).select())
        values = [row.predicted_energy for row in rows]
        meaning = connect(out).metadata["predicted_energy"]
        assert meaning == {"unit": "eV", "zero": reference}
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    printed = capsys.readouterr().err
    assert reference in printed
    assert "ase.build layers" in printed
    assert "pbc T T F" in printed
    assert "pbc F F F, which the training set has not" in printed


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
    assert "5 structures or files could not be used" in errors


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


@pytest.mark.parametrize("error", [UsageError, RuntimeError, MemoryError])
@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_a_structure_the_model_fails_on_is_named(
    folder, monkeypatch, error, batch_size
):
    model = molflt.load("model.ckpt")
    forward = FLTModel.forward

    def fails_on_ammonia(self, batch):
        if (batch.z == 7).any():
            raise error("no nitrogen")
        return forward(self, batch)

    monkeypatch.setattr(FLTModel, "forward", fails_on_ammonia)
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


@pytest.mark.parametrize("name", ["1", "nan", "1e5", "True"])
def test_files_named_like_numbers_can_stand_in_a_database(folder, name):
    ase.io.write("h2o.xyz", molecule("H2O"))
    (folder / "h2o.xyz").rename(name)
    assert main(["predict", "model.ckpt", name, "-o", "out.db"]) == 0
    assert next(connect("out.db").select()).file == f"./{name}"


def test_table_without_output(folder, capsys):
    assert main(["predict", "model.ckpt", "one.xyz"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["structure", "formula", "energy", "[eV]"]
    value = molflt.load("model.ckpt").predict([molecule("H2O")])["energy"][0]
    assert row.split() == ["one.xyz:0", "H2O", f"{value:.6f}"]


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


def test_tags_of_ase_and_of_oc20_give_one_energy(folder):
    """Layers counted by ase.build and the same slab in OC20's tags."""
    layers = slab()
    oc20 = layers.copy()
    oc20.set_tags([0] * 4 + [0] * 4 + [1] * 4 + [2])
    assert sorted(set(layers.get_tags())) == [0, 1, 2, 3]
    ase.io.write("layers.traj", layers)
    ase.io.write("oc20.traj", oc20)
    energies = {}
    for name, rules in (("layers", ("auto", "ase")), ("oc20", ("auto", "oc20"))):
        for rule in rules:
            out = f"{name}-{rule}.csv"
            words = [f"{name}.traj", "-o", out, "--tags", rule]
            assert main(["predict", "model.ckpt", *words]) == 0
            energies[name, rule] = float(read_csv(out)[0]["predicted_energy [eV]"])
    assert max(energies.values()) - min(energies.values()) < 1e-9
    assert (
        main(["predict", "model.ckpt", "oc20.traj", "-o", "x.csv", "--tags=none"]) == 0
    )
    without = float(read_csv("x.csv")[0]["predicted_energy [eV]"])
    assert abs(without - energies["oc20", "auto"]) > 1e-6
    # The wrong convention is an error that names the tags.
    assert main(["predict", "model.ckpt", "layers.traj", "--tags=oc20"]) == 1


def test_labels_in_the_input_are_compared(folder, capsys):
    model = molflt.load("model.ckpt")
    frames = [molecule("CO"), molecule("CH4")]
    predicted = model.predict(frames)["energy"]
    for atoms, energy, off in zip(frames, predicted, (0.01, 0.5), strict=True):
        atoms.calc = SinglePointCalculator(atoms, energy=energy + off)
    ase.io.write("labelled.extxyz", frames)
    inputs = ["labelled.extxyz", "one.xyz"]
    assert main(["predict", "model.ckpt", *inputs, "-o", "out.extxyz"]) == 0
    summary = "energy: MAE 0.255 eV, EwT 50.0 % against 2 labels in the input"
    assert summary in capsys.readouterr().err
    # The label stays what it was, beside the prediction.
    kept = ase.io.read("out.extxyz", 0)
    assert kept.get_potential_energy() == pytest.approx(predicted[0] + 0.01)


def test_lmdb_records_are_predicted_with_their_tags(folder):
    graph = atoms_to_graph(slab(), tags="ase", sid="a", targets={"energy": 1.0})
    write_lmdb("data.lmdb", [graph], targets=[ADSORPTION_ENERGY])
    model = molflt.load("model.ckpt")
    (item,) = predict_files(model, ["data.lmdb"])
    assert isinstance(item, Structure)
    assert item.labels == {"energy": 1.0}
    expected = model.predict([slab()])["energy"][0]
    assert item.values["energy"] == pytest.approx(expected, rel=1e-6)


def test_genuine_oc20_systems(folder, shared_data, capsys):
    elements = (13, 16, 30, 50, 72, 1, 6, 7, 8, *range(20, 84))
    molflt.save_model(make_model(elements=elements), "wide.ckpt")
    path = shared_data / "oc20" / "is2re_bs3.pt"
    assert main(["predict", "wide.ckpt", str(path), "-o", "out.csv"]) == 0
    rows = read_csv("out.csv")
    assert [row["num_atoms"] for row in rows] == ["65", "172", "24"]
    assert [row["id"] for row in rows] == ["2077917", "1302564", "1874170"]
    labels = [float(row["label_energy [eV]"]) for row in rows]
    assert labels == pytest.approx([0.8710, 0.5880, -4.9180], abs=1e-4)
    assert "pbc T T T" in capsys.readouterr().err


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
