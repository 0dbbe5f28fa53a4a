"""Benchmarks of force fields on the smallest of runs: what is compared with what."""

import json

import emt_relaxation
import numpy as np
import nve
import pytest
import torch

import molflt
from molflt.data import RMD17
from molflt.data.emt import SAMPLE
from tests.builders import model_of_kinds


def test_relaxations_are_compared_with_emt(results, capsys):
    if not SAMPLE.is_dir():
        pytest.skip("the sample comes with the repository")
    found = emt_relaxation.main(["--systems", "2", "--steps", "3", "--threads", "1"])
    written = json.loads((results.parent / "emt_relaxation.json").read_text())
    assert written["rows"] == found["rows"]
    assert written["origin"]["name"] == "emt-forces"
    assert [row["sid"] for row in found["rows"]] == ["val_id-0", "val_id-1"]
    for row in found["rows"]:
        assert row["steps"] == 3
        # Three steps from the start: above the minimum, and not by much.
        assert 0 < row["emt_at_model_minimum_eV"] - row["emt_relaxed_eV"] < 30
    model = [row["model_eV"] - row["emt_relaxed_eV"] for row in found["rows"]]
    assert found["model"]["mean_absolute_eV"] == pytest.approx(np.abs(model).mean())
    assert found["model"]["mean_eV"] == pytest.approx(np.mean(model))


def test_dynamics_is_measured_on_a_test_geometry(results, tmp_path, capsys):
    model = model_of_kinds("potential", targets=())
    rng = np.random.default_rng(0)
    places = np.array([[0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]])
    labels = {"forces": np.zeros((4, 3, 3)), "energies": np.zeros(4)}
    for part in ("train", "test"):
        coords = places + rng.normal(scale=0.02, size=(4, 3, 3))
        charges = np.array([8, 1, 1])
        path = tmp_path / f"rmd17_ethanol_{part}_01.npz"
        np.savez(path, nuclear_charges=charges, coords=coords, **labels)
    data = RMD17(tmp_path, "ethanol", num_val=0)
    data.setup()
    model = renamed(model)
    errors = nve.test_errors(model, data)
    graphs = list(data.test["test"])
    expected = np.mean([abs(model.energy_and_forces(g).energy.item()) for g in graphs])
    assert errors["energy_mae_meV"] == pytest.approx(1e3 * expected, rel=1e-5)
    assert errors["geometries"] == 4
    molflt.save_model(model, tmp_path / "pes.ckpt")
    words = ["--root", str(tmp_path), "--checkpoint", str(tmp_path / "pes.ckpt")]
    nve.main([*words, "--steps=40", "--langevin-steps=2", "--time-step=0.2"])
    written = json.loads((results.parent / "nve.json").read_text())
    assert written["picoseconds"] == pytest.approx(0.008)
    assert 0 < written["rms_about_the_line_meV_per_atom"] < 5


def renamed(model):
    """Return the model with its target called energy, as rMD17 calls it."""
    encoder = model.encoder
    spec = molflt.TargetSpec("energy")
    again = molflt.FLTModel(encoder, [spec])
    again.readout("energy").load_state_dict(model.readout("e0").state_dict())
    again.set_statistics("energy", model.statistics["e0"])
    assert torch.isfinite(again.readout("energy").std)
    return again.eval()
