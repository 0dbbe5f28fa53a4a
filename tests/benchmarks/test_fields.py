"""Benchmarks of shipped models on the smallest of runs: what is compared with what."""

import json

import emt_relaxation
import numpy as np
import nve
import pytest
import qm9_geometries
import torch

import molflt
from molflt.data import QM9, RMD17
from molflt.data.emt.datamodule import SAMPLE
from molflt.data.molecule import graph_to_atoms
from molflt.data.qm9.targets import qm9_targets
from tests.builders import model_of, model_of_kinds
from tests.data.qm9_files import upstream


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


def test_molecules_are_evaluated_at_three_geometries(results, tmp_path, monkeypatch):
    model = model_of(*qm9_targets(["u0", "mu"]))
    molflt.save_model(model, tmp_path / "molecules.ckpt")
    sizes = {"split": "random:0", "num_train": 1, "num_val": 0}
    monkeypatch.setattr(qm9_geometries, "SPLIT", sizes)
    monkeypatch.setattr(qm9_geometries, "MOLECULES", 11)
    root = upstream(tmp_path / "qm9")
    words = ["--checkpoint", str(tmp_path / "molecules.ckpt"), "--root", str(root)]
    found = qm9_geometries.main(words)
    written = json.loads((results.parent / "qm9_geometries.json").read_text())
    assert written["mae"] == found["mae"]
    assert found["molecules"] + found["left_out"] == 10
    data = QM9(root, "u0", **sizes)
    data.setup()
    graphs = {graph.sid: graph_to_atoms(graph) for graph in data.test["test"]}
    given = {sid: qm9_geometries.geometries(atoms) for sid, atoms in graphs.items()}
    assert given["gdb_12"] is None  # carbon monoxide
    kept = {sid: each for sid, each in given.items() if each is not None}
    assert found["molecules"] == len(kept) > 3
    labels = {graph.sid: float(graph.u0) for graph in data.test["test"]}
    for which, name in enumerate(qm9_geometries.GEOMETRIES):
        predicted = model.predict([each[which] for each in kept.values()])["u0"]
        error = np.abs(predicted - [labels[sid] for sid in kept]).mean()
        assert found["mae"]["u0"][name] == pytest.approx(error)
    assert len(set(found["mae"]["mu"].values())) == 3
    sizes = [row for row in found["by_size"] if row["part"] == "test"]
    assert sum(row["molecules"] for row in sizes) == len(graphs)
    parts = {(row["part"], row["heavy_atoms"]): row for row in found["by_size"]}
    predicted = model.predict(list(graphs.values()))["u0"]  # none has more than three
    error = np.abs(predicted - [labels[sid] for sid in graphs]).mean()
    assert parts["test", 4]["mae"]["u0"] == pytest.approx(error)


def renamed(model):
    """Return the model with its target called energy, as rMD17 calls it."""
    encoder = model.encoder
    spec = molflt.TargetSpec("energy")
    again = molflt.FLTModel(encoder, [spec])
    again.readout("energy").load_state_dict(model.readout("e0").state_dict())
    again.set_statistics("energy", model.statistics["e0"])
    assert torch.isfinite(again.readout("energy").std)
    return again.eval()
