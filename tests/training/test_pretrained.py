"""Fine-tuning starts where the checkpoint stands, counted from the labels' zero."""

from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase.calculators.singlepoint import SinglePointCalculator
from torch_geometric.data import Batch

import molflt
from molflt.cli import main
from molflt.data.dataset import GraphList
from molflt.data.molecule import graph_to_atoms
from molflt.data.statistics import fit_statistics
from molflt.errors import UsageError
from molflt.model import FLTEncoder, FLTModel
from molflt.targets import TargetSpec
from molflt.training.pretrained import Pretrained
from tests.running import CONFIGS
from tests.training.clusters import cluster

ENERGY = TargetSpec("energy", kind="potential", reference="old")
SPREAD = TargetSpec("spread", unit="A", kind="property", extensive=False)
SHIFT = {1: -13.6, 8: -2041.25}


@pytest.fixture
def checkpoint(tmp_path):
    """A model of clusters, and where its offsets stand."""
    encoder = FLTEncoder(width=16, num_layers=1, num_near_heads=2, num_far_heads=1)
    model = FLTModel(encoder, [ENERGY, SPREAD])
    data = GraphList([cluster(seed) for seed in range(20)])
    for spec in model.targets:
        model.set_statistics(spec.name, fit_statistics(data, spec).plain())
    path = tmp_path / "old.ckpt"
    molflt.save_model(model, path)
    return path


def predictions(model, graphs):
    with torch.no_grad():
        out = model.eval()(Batch.from_data_list(list(graphs)))
    return {name: value.numpy() for name, value in out.items()}


def shifted(path, count=12, first=50):
    """Clusters whose labels are what the model says, counted from another zero."""
    graphs = [cluster(seed) for seed in range(first, first + count)]
    known = predictions(molflt.load(path), graphs)
    for graph, energy, spread in zip(
        graphs, known["energy"], known["spread"], strict=True
    ):
        offset = sum(SHIFT[z] for z in graph.z.tolist())
        graph.energy = torch.tensor([energy + offset])
        graph.spread = torch.tensor([spread + 0.5])
    return GraphList(graphs)


def test_shifted_references_make_an_equal_model_equal_again(checkpoint):
    data = shifted(checkpoint)
    model = Pretrained(checkpoint).adapted([ENERGY, SPREAD], data)
    found = predictions(model, data)
    labels = np.array([graph.energy.item() for graph in data])
    np.testing.assert_allclose(found["energy"], labels, rtol=0, atol=1e-6)
    labels = np.array([graph.spread.item() for graph in data])
    np.testing.assert_allclose(found["spread"], labels, rtol=0, atol=1e-6)
    old = molflt.load(checkpoint)
    assert model.readout("energy").std == old.readout("energy").std
    for z, value in SHIFT.items():
        moved = (
            model.readout("energy").reference[z] - old.readout("energy").reference[z]
        )
        assert moved == pytest.approx(value, abs=1e-6)


def test_forces_do_not_change_at_the_start_unless_the_normaliser_does(checkpoint):
    data = shifted(checkpoint)
    batch = Batch.from_data_list(list(data))
    old = molflt.load(checkpoint).energy_and_forces(batch, "energy").forces
    for references, same in (("shift", True), ("keep", True), ("fit", False)):
        model = Pretrained(checkpoint, references).adapted([ENERGY], data)
        found = model.eval().energy_and_forces(batch, "energy").forces
        assert torch.equal(found, old) == same


def test_what_is_kept_and_what_is_replaced(checkpoint):
    data, old = shifted(checkpoint), molflt.load(checkpoint)
    kept = Pretrained(checkpoint, "keep").adapted([ENERGY, SPREAD], data)
    for name, values in predictions(old, data).items():
        np.testing.assert_array_equal(predictions(kept, data)[name], values)
    fitted = Pretrained(checkpoint, "fit").adapted([ENERGY], data)
    expected = fit_statistics(data, ENERGY)
    assert fitted.readout("energy").std == expected.std
    assert fitted.statistics["energy"]["element_reference"] == pytest.approx(
        expected.element_reference
    )
    for name, value in old.encoder.state_dict().items():
        assert torch.equal(fitted.encoder.state_dict()[name], value)


def test_one_composition_gets_its_mean_and_no_wild_references(checkpoint):
    """Counts that never vary: the change of least norm, not one that is arbitrary."""
    graphs = []
    for step in range(6):
        graph = cluster(1)
        graph.pos = graph.pos * (1 + 0.02 * step)
        graphs.append(graph)
    known = predictions(molflt.load(checkpoint), graphs)["energy"]
    for graph, energy in zip(graphs, known, strict=True):
        graph.energy = torch.tensor([energy - 1000.0])
    model = Pretrained(checkpoint).adapted([ENERGY], GraphList(graphs))
    found = predictions(model, graphs)["energy"]
    np.testing.assert_allclose(found, known - 1000.0, atol=1e-6)
    before = molflt.load(checkpoint).readout("energy").reference
    change = model.readout("energy").reference - before
    assert change.abs().max() <= 1000.0


@pytest.mark.parametrize("references", ["shift", "fit", "keep"])
def test_elements_whose_zero_is_unknown_are_forgotten(checkpoint, references, caplog):
    """Labels without an element say nothing of its zero, unless that is the old one."""
    data = shifted(checkpoint)
    for graph in data:
        graph.z[:] = 6
    with caplog.at_level("INFO"):
        model = Pretrained(checkpoint, references).adapted([ENERGY], data)
    known = model.statistics["energy"]["elements"]
    assert known == ([1, 6, 8] if references == "keep" else [6])
    said = "H, O, the new labels do not" in caplog.text
    assert said == (references != "keep")


WIDTH = TargetSpec("width", unit="A", kind="property", extensive=False)


def test_a_new_target_is_learned_from_the_features_of_the_checkpoint(checkpoint):
    """Its offset and spread are those of the labels; what is known stays as it is."""
    graphs = [cluster(seed, width=3.0 + seed % 5) for seed in range(10)]
    start = Pretrained(checkpoint, references="keep", new_targets=True)
    model = start.adapted([ENERGY, WIDTH], GraphList(graphs))
    origin = molflt.load(checkpoint)
    for name, value in origin.encoder.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[name], value), name
    assert predictions(model, graphs)["energy"] == pytest.approx(
        predictions(origin, graphs)["energy"]
    )
    fitted = fit_statistics(GraphList(graphs), WIDTH)
    assert model.statistics["width"] == fitted.plain()
    assert float(model.readout("width").mean) == pytest.approx(5.0)
    assert model.target_spec("width").unit == "A"


def test_a_new_target_has_to_be_asked_for(checkpoint):
    graphs = GraphList([cluster(0, width=1.0)])
    with pytest.raises(UsageError, match=r"to 'width': it has .*encoder.new_targets"):
        Pretrained(checkpoint).adapted([WIDTH], graphs)


def test_sizes_that_the_checkpoint_knows_stay_known(checkpoint):
    known = molflt.load(checkpoint).statistics["energy"]
    sizes = known["num_atoms_min"], known["num_atoms_max"]
    graphs = [cluster(sizes[0] + 1) for _ in range(3)]
    model = Pretrained(checkpoint).adapted([ENERGY], GraphList(graphs))
    found = model.statistics["energy"]
    assert (found["num_atoms_min"], found["num_atoms_max"]) == sizes


def test_references_that_one_composition_cannot_fix_are_told(checkpoint, caplog):
    graphs = [cluster(2) for _ in range(4)]
    for step, graph in enumerate(graphs):
        graph.energy = torch.tensor([-1000.0 - step])
    model = Pretrained(checkpoint).adapted([ENERGY], GraphList(graphs))
    assert "do not determine the references of" in caplog.text
    assert not model.statistics["energy"]["determined"]


def test_elements_that_the_first_features_do_not_see_are_refused(tmp_path):
    encoder = FLTEncoder(
        **{"width": 16, "num_layers": 1, "num_near_heads": 2, "num_far_heads": 1},
        **{"density_elements": "HO", "density_components": 20},
    )
    model = FLTModel(encoder, [ENERGY])
    data = GraphList([cluster(seed) for seed in range(20)])
    model.set_statistics("energy", fit_statistics(data, ENERGY).plain())
    molflt.save_model(model, tmp_path / "old.ckpt")
    Pretrained(tmp_path / "old.ckpt").adapted([ENERGY], data)
    data[3].z[:] = 6
    with pytest.raises(UsageError, match=r"old\.ckpt .*have C, .*tell only HO apart"):
        Pretrained(tmp_path / "old.ckpt").adapted([ENERGY], data)


def test_targets_that_differ_are_refused(checkpoint):
    data = shifted(checkpoint)
    for spec, words in (
        (replace(ENERGY, kind="relaxed"), "kind of 'energy' is potential in the check"),
        (replace(ENERGY, unit="hartree"), "unit of 'energy' is eV"),
        (TargetSpec("gap"), "to 'gap': it has energy, spread"),
    ):
        with pytest.raises(UsageError, match=words):
            Pretrained(checkpoint).adapted([spec], data)


@pytest.mark.filterwarnings("ignore:.*closer to each other")  # random clusters
def test_the_configuration_runs_from_checkpoint_to_prediction(
    checkpoint, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    frames = []
    for graph in shifted(checkpoint, 40):
        atoms = graph_to_atoms(graph)
        energy, forces = atoms.info.pop("energy"), atoms.arrays.pop("forces")
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        atoms.info.pop("spread")
        frames.append(atoms)
    ase.io.write("my.extxyz", frames)
    words = ["fit", "--config", str(CONFIGS / "finetune.yaml")]
    words += ["--model.encoder.init_args.checkpoint=old.ckpt"]
    words += ["--trainer.accelerator=cpu", "--trainer.max_epochs=2"]
    words += ["--model.force_weight=1.0", "--trainer.log_every_n_steps=1"]
    assert main(words) == 0, capsys.readouterr().err
    best = Path("runs/finetune/version_0/checkpoints/best.ckpt")
    model = molflt.load(best)
    assert model.statistics["energy"]["num_structures"] == 36
    assert model.target_spec("energy").reference == "as in the training files"
    labels = np.array([atoms.get_potential_energy() for atoms in frames])
    found = model.predict(frames)["energy"]
    # Far below the shift of thousands of eV, after a few steps.
    assert np.abs(found - labels).max() < 1.0
    last = best.with_name("last.ckpt")
    words[-2:] = ["--model.force_weight=1.0", "--trainer.max_epochs=3"]
    assert main([*words, "--ckpt_path", str(last)]) == 0, capsys.readouterr().err
    missing = [w.replace("old.ckpt", "none.ckpt") for w in words]
    assert main(missing) == 1
    assert "none.ckpt does not exist" in capsys.readouterr().err


def test_the_default_precision_of_torch_makes_no_difference(checkpoint):
    data = shifted(checkpoint)
    expected = predictions(Pretrained(checkpoint).adapted([ENERGY], data), data)
    torch.set_default_dtype(torch.float64)
    try:
        model = Pretrained(checkpoint).adapted([ENERGY], data)
        found = predictions(model, data)
    finally:
        torch.set_default_dtype(torch.float32)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    np.testing.assert_allclose(found["energy"], expected["energy"], rtol=0, atol=1e-5)
