"""Predictions are those of the model, whatever they are read from."""

import itertools

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.db import connect

import molflt
from molflt.cli import main
from molflt.domain import Domain
from molflt.model import FLTModel
from molflt.predict import fill_batches, predict_files, read_structures
from molflt.targets import TargetSpec
from tests.builders import copper_slab, model_of
from tests.predict.tables import read_csv


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


def deep_model(seed, *targets):
    """A model whose prediction depends on its seed."""
    torch.manual_seed(seed)
    return model_of(*targets)


def test_labels_of_another_name_are_compared(folder, capsys):
    frames = [molecule("H2O"), molecule("NH3"), molecule("CO")]
    energies = molflt.load("model.ckpt").predict(frames)["energy"]
    for atoms, energy in zip(frames[:2], energies, strict=False):
        atoms.info |= {"E_ads": energy - 0.5, "energy": -99.0}
    ase.io.write("named.extxyz", frames)
    words = ["predict", "model.ckpt", "named.extxyz", "-o", "out.csv"]
    assert main([*words, "--energy-key", "E_ads"]) == 0
    assert "MAE 0.5 eV, EwT 0.0 % against 2 labels" in capsys.readouterr().err
    labels = [row["label_energy [eV]"] for row in read_csv("out.csv")]
    assert labels[2] == ""
    np.testing.assert_allclose([float(x) for x in labels[:2]], energies[:2] - 0.5)
    assert main([*words, "--energy-key", "Eads"]) == 0  # and not the key energy
    told = capsys.readouterr().err
    assert "MAE" in told.split("'Eads'")[1]
    assert "MAE" not in told.split("'Eads'")[0]
    assert main([*words, "--forces-key", "f"]) == 2
    assert "predict them: --forces" in capsys.readouterr().err
    words = ["predict", "qm9-properties", "one.xyz", "--energy-key", "E_ads"]
    assert main(words) == 2
    assert "called energy; this model has mu, alpha" in capsys.readouterr().err


def test_models_that_are_the_same_are_named(folder, capsys):
    for name, seed in (("a", 0), ("b", 1), ("c", 1)):
        molflt.save_model(deep_model(seed), f"{name}.ckpt")
    assert main(["predict", "a.ckpt", "b.ckpt", "slab.traj"]) == 0
    assert "same weights" not in capsys.readouterr().err
    assert main(["predict", "a.ckpt", "b.ckpt", "c.ckpt", "slab.traj"]) == 0
    assert "warning: b.ckpt and c.ckpt have the same weights" in capsys.readouterr().err


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
    for atoms in frames:  # the constraint's zeros are no forces: as `molflt test`
        atoms.set_constraint(FixAtoms(range(len(atoms) - 1)))
        atoms.calc = SinglePointCalculator(atoms, forces=atoms.get_forces())
    ase.io.write("frames.extxyz", frames)
    assert main([*words, "-o", "out.extxyz"]) == 0
    assert "forces: MAE 0.125 eV/Å against 2 labels" in capsys.readouterr().err
    frames[0].set_constraint(FixAtoms(range(len(frames[0]))))
    ase.io.write("frames.extxyz", frames)
    assert main([*words, "-o", "out.extxyz"]) == 0
    assert "forces: MAE 0.125 eV/Å against 1 labels" in capsys.readouterr().err
    assert main([*words, "-o", "out.csv"]) == 2
    assert "--forces needs -o" in capsys.readouterr().err
    assert main(["predict", "model.ckpt", *words[2:], "-o", "x.extxyz"]) == 2
    assert "the energy after relaxation" in capsys.readouterr().err


def test_forces_of_another_name_are_compared(folder, capsys):
    model = model_of(TargetSpec("e", kind="potential"))
    molflt.save_model(model, "potential.ckpt")
    frames = [molecule("H2O"), molecule("CO")]
    forces = molflt.FLTCalculator("potential.ckpt").get_forces(frames[0])
    frames[0].arrays["dft_forces"] = forces + 0.25
    ase.io.write("forces.extxyz", frames)
    words = ["predict", "potential.ckpt", "forces.extxyz", "--forces", "-o", "o.extxyz"]
    assert main([*words, "--forces-key", "dft_forces"]) == 0
    assert "forces: MAE 0.25 eV/Å against 1 labels" in capsys.readouterr().err


def test_a_checkpoint_without_a_summary_is_told(folder, capsys):
    model = model_of()
    model.statistics.clear()
    molflt.save_model(model, "bare.ckpt")
    assert main(["predict", "bare.ckpt", "one.xyz"]) == 0
    assert "no summary of its training set" in capsys.readouterr().err


def test_files_are_read_as_they_are_needed(folder, monkeypatch):
    """A stream without an end, of which only the beginning is asked for."""
    read = []

    def endless(path):
        for frame in itertools.count():
            read.append(frame)
            yield f"frame {frame}", molecule("H2O")

    monkeypatch.setattr("molflt.read_structures.iterate_structures", endless)
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
