"""Predicted stress is the calculator's, of crystals, and compared with labels."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

import molflt
from molflt.cli import main
from molflt.evaluation import Ensemble
from tests.builders import copper_slab, model_of_kinds


def crystal(seed=0) -> Atoms:
    """Strained and shaken, without right angles."""
    atoms = bulk("Cu") * (2, 1, 1)
    tilt = np.array([[1.04, 0.02, 0.0], [0.0, 0.97, 0.0], [0.01, 0.0, 1.03]])
    atoms.set_cell(atoms.cell @ tilt, scale_atoms=True)
    atoms.rattle(0.1, seed=seed)
    return atoms


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed in range(2):
        molflt.save_model(model_of_kinds("potential", seed=seed), f"{seed}.ckpt")
    return tmp_path


def stress_of(atoms, *paths):
    calculator = molflt.FLTCalculator(list(paths))
    copy = atoms.copy()
    stress = calculator.get_property("stress", copy)
    if len(paths) == 1:
        return stress, None
    return stress, calculator.get_property("stress_std", copy)


def test_error_is_the_mean_over_nine_components(folder, capsys):
    """As `molflt test` counts it."""
    atoms = crystal()
    label = stress_of(atoms, "0.ckpt")[0] + np.array([0.0, 0.0, 0.0, 0.25, 0.0, 0.0])
    atoms.calc = SinglePointCalculator(atoms, stress=label)
    ase.io.write("in.extxyz", atoms)
    assert main(["predict", "0.ckpt", "in.extxyz", "--stress", "-o", "o.extxyz"]) == 0
    said = capsys.readouterr().err
    assert f"stress: MAE {2 * 0.25 / 9:.4g} eV/Å^3 against 1 labels" in said


def test_stress_is_the_calculators_and_labels_are_compared(folder, capsys):
    plain = copper_slab()
    plain.info.clear()
    frames = [crystal(0), molecule("CO"), crystal(1), plain, crystal(2)]
    expected = [stress_of(a, "0.ckpt")[0] if a.pbc.all() else None for a in frames]
    for atoms, stress in zip(frames[:3:2], expected[:3:2], strict=True):
        label = stress + 0.25
        atoms.calc = SinglePointCalculator(atoms, stress=label)
    ase.io.write("in.extxyz", frames)
    words = ["predict", "0.ckpt", "in.extxyz", "--stress"]
    for out in ("out.extxyz", "out.db"):
        assert main([*words, "-o", out]) == 0
        said = capsys.readouterr().err
        assert "stress: MAE 0.25 eV/Å^3 against 2 labels in the input" in said
        assert "2 structures have no stress: they are not periodic in three" in said
    rows = list(connect("out.db").select())
    text = (folder / "out.extxyz").read_text()
    found = ase.io.read("out.extxyz", ":")
    for atoms, row, stress in zip(found, rows, expected, strict=True):
        assert "predicted_forces" not in atoms.arrays
        assert ("predicted_stress" in atoms.info) == (stress is not None)
        assert ("predicted_stress" in row.data) == (stress is not None)
        if stress is not None:
            assert np.abs(stress).max() > 1e-3
            one = atoms.info["predicted_stress"]
            assert "JSON" not in text  # which other programs could not read
            np.testing.assert_allclose(one, stress, atol=1e-6)
            np.testing.assert_allclose(row.data["predicted_stress"], stress, atol=1e-6)
    # The label stays what it was, beside the prediction.
    np.testing.assert_allclose(found[0].get_stress(), expected[0] + 0.25, atol=1e-6)
    # With forces, all structures have those, as without stress.
    assert main([*words, "--forces", "-o", "both.extxyz"]) == 0
    assert main([*words[:-1], "--forces", "-o", "forces.extxyz"]) == 0
    assert "stress" not in capsys.readouterr().err.split("both.extxyz")[-1]
    both = ase.io.read("both.extxyz", ":")
    for one, two in zip(both, ase.io.read("forces.extxyz", ":"), strict=True):
        assert "predicted_stress" not in two.info
        forces = two.arrays["predicted_forces"]
        np.testing.assert_allclose(one.arrays["predicted_forces"], forces, atol=1e-5)


def test_an_ensemble_has_deviations(folder):
    ase.io.write("in.extxyz", crystal())
    words = ["predict", "0.ckpt", "1.ckpt", "in.extxyz", "--stress", "-o", "out.extxyz"]
    assert main(words) == 0
    found = ase.io.read("out.extxyz").info
    mean, deviation = stress_of(crystal(), "0.ckpt", "1.ckpt")
    assert deviation.max() > 1e-4
    np.testing.assert_allclose(found["predicted_stress"], mean, atol=1e-6)
    np.testing.assert_allclose(found["predicted_stress_std"], deviation, atol=1e-6)


def test_a_label_that_is_no_stress_is_told_where_stress_is_asked_for(folder, capsys):
    odd, good = crystal(), crystal(1)
    odd.info["stress"] = np.ones(3)
    ase.io.write("in.traj", [odd, good])
    words = ["predict", "0.ckpt", "in.traj", "-o", "out.db"]
    assert main(words) == 0
    capsys.readouterr()
    assert main([*words, "--stress"]) == 1
    assert "in.traj, frame 0: 'stress' has shape" in capsys.readouterr().err
    rows = list(connect("out.db").select())
    assert [row.data["predicted_stress"].shape for row in rows] == [(6,), (6,)]


def test_outputs_and_models_without_stress_are_refused(folder, capsys):
    ase.io.write("in.traj", crystal())
    words = ["predict", "0.ckpt", "in.traj", "--stress"]
    for out in ([], ["-o", "out.csv"]):
        assert main([*words, *out]) == 2
        assert "--stress needs -o with one of .extxyz, .db" in capsys.readouterr().err
    molflt.save_model(model_of_kinds("relaxed"), "is2re.ckpt")
    assert main(["predict", "is2re.ckpt", *words[2:], "-o", "out.extxyz"]) == 2
    assert "Predicting stress needs forces; this model has" in capsys.readouterr().err


def test_a_stress_that_is_not_finite_is_left_out(folder, monkeypatch, capsys):
    ase.io.write("in.traj", crystal())
    evaluate = Ensemble.evaluate

    def broken(*words, **options):
        found = evaluate(*words, **options)
        found.arrays["stress"][:] = np.nan
        return found

    monkeypatch.setattr(Ensemble, "evaluate", broken)
    words = ["predict", "0.ckpt", "in.traj", "--stress", "-o", "out.extxyz"]
    assert main(words) == 1
    assert "frame 0, stress: it is not finite" in capsys.readouterr().err
    found = ase.io.read("out.extxyz")
    assert "predicted_stress" not in found.info
    assert "predicted_e0" in found.info
