import csv
import itertools
import os
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from rdkit import Chem
from rdkit.Chem.rdDistGeom import EmbedMolecule

import molflt
from molflt.cli import main
from molflt.data.electrons import refuse_charge_and_spin
from molflt.data.emt_generate import ADSORPTION_ENERGY
from molflt.data.lmdb import write_lmdb
from molflt.data.molecule import atoms_to_graph
from molflt.domain import Domain
from molflt.errors import InputError, UsageError
from molflt.model import FLTEncoder, FLTModel
from molflt.predict import Structure, fill_batches, predict_files, read_structures
from molflt.targets import TargetSpec
from tests.builders import copper_slab, model_of


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a checkpoint and structure files."""
    monkeypatch.chdir(tmp_path)
    molflt.save_model(model_of(), "model.ckpt")
    ase.io.write("one.xyz", molecule("H2O"))
    ase.io.write("many.traj", [molecule(name) for name in ("CH4", "NH3", "CO")])
    ase.io.write("slab.traj", copper_slab())
    return tmp_path


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_order_and_values_do_not_depend_on_batches(folder):
    model = molflt.load("model.ckpt")
    files = ["many.traj", "slab.traj", "one.xyz"]
    structures = [*ase.io.read("many.traj", ":"), copper_slab(), molecule("H2O")]
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


def test_boundary_conditions_that_training_had_not_are_told_of_files(folder, capsys):
    ase.io.write("crystal.traj", [bulk("Cu"), copper_slab()])
    assert main(["predict", "model.ckpt", "crystal.traj", "-o", "out.csv"]) == 0
    printed = capsys.readouterr().err
    assert "pbc T T T, which the training set has not\n" in printed
    assert "pbc T T F\n" in printed


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
    layers = copper_slab()
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


def tagged_model(tags_seen):
    model = model_of(TargetSpec("energy"))
    model.set_statistics(
        "energy", model.statistics["energy"] | {"tags_seen": tags_seen}
    )
    return model


def test_tags_are_not_read_for_a_model_that_was_shown_none(folder, capsys):
    model = tagged_model([-1])
    molflt.save_model(model, "untagged.ckpt")
    bare = copper_slab()
    bare.set_tags(0)
    (expected,) = model.predict([bare])["energy"]
    assert model.predict([copper_slab()])["energy"][0] == pytest.approx(
        expected, abs=1e-6
    )
    atoms = copper_slab()
    atoms.calc = molflt.FLTCalculator(model)
    assert atoms.get_potential_energy() == pytest.approx(expected, abs=1e-5)
    assert main(["predict", "untagged.ckpt", "slab.traj", "-o", "x.csv"]) == 0
    (row,) = read_csv("x.csv")
    assert float(row["predicted_energy [eV]"]) == pytest.approx(expected, abs=1e-5)
    assert "tags are not used" in capsys.readouterr().err
    # Who asks for tags gets them.
    assert main(["predict", "untagged.ckpt", "slab.traj", "-o", "x", "--tags=ase"]) == 2
    words = ["untagged.ckpt", "slab.traj", "-o", "y.csv", "--tags=ase"]
    assert main(["predict", *words]) == 0
    other = float(read_csv("y.csv")[0]["predicted_energy [eV]"])
    assert abs(other - expected) > 1e-4


def test_missing_tags_are_told_to_users_of_a_model_that_was_shown_all(folder, capsys):
    model = tagged_model([0, 1, 2])
    molflt.save_model(model, "tagged.ckpt")
    bare = copper_slab()
    bare.set_tags(0)
    ase.io.write("bare.traj", [bare, copper_slab()])
    with pytest.warns(UserWarning, match="1 structures, such as number 1, have no tag"):
        model.predict([copper_slab(), bare])
    bare.calc = molflt.FLTCalculator(model)
    with pytest.warns(UserWarning, match="has no tags, unlike all of the tr"):
        bare.get_potential_energy()
    assert main(["predict", "tagged.ckpt", "bare.traj", "-o", "x.csv"]) == 0
    lines = capsys.readouterr().err.splitlines()
    told = [line for line in lines if "unlike all of the training set" in line]
    assert len(told) == 1
    assert told[0].startswith("1 structures: no tags")


def test_boundary_conditions_that_training_had_not_are_told():
    crystal = bulk("Cu")
    told = "2 structures, such as number 1, have pbc T T T, the training set only F F F"
    with pytest.warns(UserWarning, match=told) as found:
        model_of().predict([copper_slab(), crystal, crystal])
    assert found[0].filename == __file__  # the line to look at is the caller's


def test_a_record_outside_of_the_training_set_is_named_once(folder):
    gold = atoms_to_graph(Atoms("Au"), sid="a", targets={"energy": 1.0})
    write_lmdb("gold.lmdb", [gold], targets=[ADSORPTION_ENERGY])
    (error,) = predict_files(molflt.load("model.ckpt"), ["gold.lmdb"])
    assert str(error).startswith("gold.lmdb, record 0 has Au, which the model was not")


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


def deep_model(seed, *targets):
    """A model whose prediction depends on its seed."""
    torch.manual_seed(seed)
    return model_of(*targets)


def test_an_ensemble_has_means_and_deviations_in_columns(folder, capsys):
    for seed in range(3):
        molflt.save_model(deep_model(seed), f"{seed}.ckpt")
    words = ["predict", "0.ckpt", "1.ckpt", "many.traj", "2.ckpt", "slab.traj"]
    assert main([*words, "-o", "out.csv"]) == 0
    assert "ensemble of 3" in capsys.readouterr().err
    structures = [*ase.io.read("many.traj", ":"), copper_slab()]
    values = np.array(
        [molflt.load(f"{s}.ckpt").predict(structures)["energy"] for s in range(3)]
    )
    rows = read_csv("out.csv")
    means = [float(row["predicted_energy [eV]"]) for row in rows]
    deviations = [float(row["predicted_energy_std [eV]"]) for row in rows]
    np.testing.assert_allclose(means, values.mean(0), rtol=1e-6)
    np.testing.assert_allclose(deviations, values.std(0, ddof=1), rtol=1e-4)
    assert min(deviations) > 1e-3
    assert main([*words, "-o", "out.extxyz"]) == 0
    frames = ase.io.read("out.extxyz", ":")
    found = [atoms.info["predicted_energy_std"] for atoms in frames]
    np.testing.assert_allclose(found, deviations, rtol=1e-6)
    assert main([*words, "-o", "out.db"]) == 0
    found = [row.predicted_energy_std for row in connect("out.db").select()]
    np.testing.assert_allclose(found, deviations, rtol=1e-6)
    capsys.readouterr()
    assert main(words) == 0
    head = capsys.readouterr().out.splitlines()[0]
    assert "std_energy [eV]" in head
    assert main(["predict", "0.ckpt", "1.ckpt", "./0.ckpt", "one.xyz"]) == 2
    assert "./0.ckpt is named twice" in capsys.readouterr().err
    assert main(["predict", "0.ckpt", "1.ckpt"]) == 2
    assert "only checkpoints" in capsys.readouterr().err


def test_a_bad_target_leaves_the_others(folder, capsys):
    """A dipole moment is not defined for a slab; its energy is."""
    specs = [
        TargetSpec("e", kind="potential"),
        TargetSpec("mu", "D", "property", extensive=False, readout="dipole"),
    ]
    molflt.save_model(deep_model(0, *specs), "two.ckpt")
    words = ["predict", "two.ckpt", "many.traj", "slab.traj", "one.xyz"]
    assert main([*words, "-o", "out.csv"]) == 1
    rows = read_csv("out.csv")
    assert len(rows) == 5
    assert all(row["predicted_e [eV]"] for row in rows)
    empty = [row["file"] for row in rows if not row["predicted_mu [D]"]]
    assert empty == ["slab.traj"]
    printed = capsys.readouterr().err
    assert "slab.traj, frame 0, mu: The dipole moment of a periodic" in printed
    for out in ("out.extxyz", "out.db"):
        assert main([*words, "-o", out]) == 1
    frames = ase.io.read("out.extxyz", ":")
    assert ["predicted_mu" in atoms.info for atoms in frames] == [1, 1, 1, 0, 1]
    capsys.readouterr()
    assert main(words) == 1
    assert capsys.readouterr().out.splitlines()[4].split()[-1] == "failed"


def test_one_target_that_is_not_finite(folder, monkeypatch):
    specs = [TargetSpec("e", kind="potential"), TargetSpec("f", kind="property")]
    model = deep_model(0, *specs)
    physical = FLTModel.physical

    def broken(self, name, normalised, data):
        value = physical(self, name, normalised, data)
        return value.where(data.z.new_tensor(name == "e").bool(), torch.nan)

    monkeypatch.setattr(FLTModel, "physical", broken)
    (item,) = predict_files(model, ["one.xyz"])
    assert list(item.values) == ["e"]
    assert "one.xyz, frame 0, f: the prediction is not finite" in item.failures["f"]


def test_forces_are_written_and_compared(folder, capsys):
    model = deep_model(0, TargetSpec("e", kind="potential"))
    molflt.save_model(model, "pes.ckpt")
    frames = [copper_slab(), copper_slab()]
    expected = []
    for seed, atoms in enumerate(frames):
        atoms.info.clear()  # ASE's notes on adsorption sites do not fit into the file
        atoms.rattle(0.1, seed=seed)
        free = atoms.copy()
        free.calc = molflt.FLTCalculator(model)
        expected.append(free.get_forces())
        shifted = expected[-1] + 0.125
        atoms.calc = SinglePointCalculator(atoms, forces=shifted)
    ase.io.write("frames.extxyz", frames)
    words = ["predict", "pes.ckpt", "frames.extxyz", "--forces"]
    for out in ("out.extxyz", "out.db"):
        assert main([*words, "-o", out]) == 0
        assert "forces: MAE 0.125 eV/Å against 2 labels" in capsys.readouterr().err
    rows = list(connect("out.db").select())
    for atoms, row, forces in zip(
        ase.io.read("out.extxyz", ":"), rows, expected, strict=True
    ):
        np.testing.assert_allclose(atoms.arrays["predicted_forces"], forces, atol=1e-5)
        np.testing.assert_allclose(row.data["predicted_forces"], forces, atol=1e-5)
        label = atoms.get_forces(apply_constraint=False)
        np.testing.assert_allclose(label, forces + 0.125, atol=1e-5)
    assert main([*words, "-o", "out.csv"]) == 2
    assert "--forces needs -o" in capsys.readouterr().err
    assert main(["predict", "model.ckpt", *words[2:], "-o", "x.extxyz"]) == 2
    assert "the energy after relaxation" in capsys.readouterr().err


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


def test_a_checkpoint_without_a_summary_is_told(folder, capsys):
    model = model_of()
    model.statistics.clear()
    molflt.save_model(model, "bare.ckpt")
    assert main(["predict", "bare.ckpt", "one.xyz"]) == 0
    assert "no summary of its training set" in capsys.readouterr().err


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


def test_files_are_read_as_they_are_needed(folder, monkeypatch):
    """A stream without an end, of which only the beginning is asked for."""
    read = []

    def endless(path):
        for frame in itertools.count():
            read.append(frame)
            yield f"frame {frame}", molecule("H2O")

    monkeypatch.setattr("molflt.read_structures.iterate_atoms", endless)
    items = predict_files(model_of(), ["one.xyz"], batch_atoms=30)
    for _ in range(3):
        next(items)
    assert 3 <= len(read) < 500


def test_batches_are_of_similar_size_and_not_too_large(folder):
    model = model_of()
    sizes = [1, 90, 2, 4, 3, 100, 1, 2, 33]
    frames = [Atoms(f"C{n}", np.arange(3.0 * n).reshape(n, 3) * 2) for n in sizes]
    frames += [copper_slab(), copper_slab()]
    ase.io.write("sizes.traj", frames)
    domain = Domain([model])
    items = list(read_structures("sizes.traj", ["energy"], domain))
    batches = list(fill_batches(items, 3, 40))
    assert sorted(id(i) for b in batches for i in b) == sorted(id(i) for i in items)
    for batch in batches:
        counts = [len(item.atoms) for item in batch]
        assert len(batch) <= 3
        assert len(batch) == 1 or len(batch) * max(counts) <= 40
        assert len({bool(item.atoms.pbc.any()) for item in batch}) == 1
    assert len(batches) < len(items)


@pytest.mark.parametrize("charge", [1, -1.0, "+1", "-2", np.array([1])])
def test_a_charge_is_seen_however_it_is_written(charge):
    atoms = molecule("H2O")
    atoms.info["charge"] = charge
    with pytest.raises(InputError, match="has the charge"):
        refuse_charge_and_spin(atoms)
    atoms.info["charge"] = "0"
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


def test_a_byte_order_mark_is_no_number_of_atoms(folder, capsys):
    text = Path("one.xyz").read_text()
    Path("marked.xyz").write_text(text, encoding="utf-8-sig")
    assert main(["predict", "model.ckpt", "marked.xyz"]) == 0
