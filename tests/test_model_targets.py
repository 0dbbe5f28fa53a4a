"""Several targets of different kinds in one model: laws, checkpoints, predictions."""

import csv

import ase.io
import pytest
import torch
from ase.build import fcc111, molecule
from torch_geometric.data import Batch

import molflt
from molflt import testing as laws
from molflt.analysis import atom_contributions
from molflt.checkpoint import model_from_record, model_record
from molflt.cli import main
from molflt.data.lmdb.store import LMDBDataset, write_lmdb
from molflt.errors import InputError, UsageError
from molflt.model import FLTModel
from molflt.targets import TargetSpec
from tests.builders import molecules, salt, small_encoder

TARGETS = {
    "energy": TargetSpec("energy"),
    "gap": TargetSpec("gap", "eV", "property", extensive=False),
    "eads": TargetSpec("eads", "eV", "relaxed", readout="tags"),
    "homo": TargetSpec("homo", "eV", "property", "", False, readout="attention"),
    "mu": TargetSpec("mu", "D", "property", "", False, readout="dipole"),
    "r2": TargetSpec("r2", "a0^2", "property", readout="extent"),
    "alpha": TargetSpec("alpha", "a0^3", "property", readout="polarisability"),
}
OPEN_ONLY = ("mu", "r2", "alpha")
REFERENCE = {1: 3.5, 6: 10.5, 8: 10.2, 11: 1.5, 17: 2.5, 29: 3.5}
ATOM_SUM = {"element_reference": REFERENCE, "mean": 0.0, "std": 2.0}
STATISTICS = {
    "energy": ATOM_SUM,
    "gap": {"element_reference": {}, "mean": 6.9, "std": 1.3},
    "eads": ATOM_SUM,
    "homo": {"element_reference": {}, "mean": -6.5, "std": 0.6},
    "mu": {"element_reference": {}, "mean": 0.0, "std": 3.0},
    "r2": ATOM_SUM | {"moment_reference": {z: 3.5 * z for z in REFERENCE}},
    "alpha": ATOM_SUM,
}


def build(names=tuple(TARGETS), dtype=torch.float32, **options):
    encoder = small_encoder(num_far_heads=0, **options)
    model = FLTModel(encoder, [TARGETS[name] for name in names])
    for name in names:
        elements = {"elements": sorted(REFERENCE)}
        model.set_statistics(name, STATISTICS[name] | elements)
    return model.to(dtype).eval()


@pytest.mark.parametrize("vectors", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", TARGETS)
class TestLaws:
    def learned(self, name, dtype, vectors):
        model = build([name], dtype, vector_width=6 * vectors)
        return lambda data: model.normalised(data)[name]

    def rtol(self, dtype):
        return 1e-5 if dtype == torch.float32 else 1e-9

    def test_rotation_and_reflection(self, name, dtype, vectors):
        value = self.learned(name, dtype, vectors)
        laws.assert_rotation_invariant(value, molecules()[0], self.rtol(dtype))

    def test_translation(self, name, dtype, vectors):
        value = self.learned(name, dtype, vectors)
        laws.assert_translation_invariant(value, molecules()[0], rtol=self.rtol(dtype))

    def test_numbering(self, name, dtype, vectors):
        value = self.learned(name, dtype, vectors)
        laws.assert_permutation_invariant(value, molecules()[0], rtol=self.rtol(dtype))

    def test_batches(self, name, dtype, vectors):
        value = self.learned(name, dtype, vectors)
        laws.assert_batch_equals_singles(value, molecules(), self.rtol(dtype))
        if dtype == torch.float64:
            laws.assert_graphs_do_not_interact(value, molecules())


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in OPEN_ONLY])
def test_supercells(name):
    model, extensive = build([name], torch.float64), TARGETS[name].extensive
    laws.assert_supercell_law(lambda d: model(d)[name], salt(), extensive, rtol=1e-9)
    laws.assert_wrapping_invariant(lambda d: model(d)[name], salt(), rtol=1e-9)


@pytest.mark.parametrize("name", OPEN_ONLY)
def test_what_a_periodic_structure_does_not_have_is_refused(name):
    with pytest.raises(InputError, match="of a periodic structure is not defined"):
        build(["energy", name])(salt())


def test_forces_do_not_ask_for_what_a_periodic_structure_does_not_have():
    model = build(["energy", "mu"])
    forces = model.energy_and_forces(salt(), "energy").forces
    assert torch.isfinite(forces).all()


@pytest.mark.parametrize("name", TARGETS)
def test_derivatives_are_those_of_the_value(name):
    model, water = build([name], torch.float64), molecules()[1]

    def value(pos):
        moved = water.clone()
        moved.pos = pos
        return model(moved)[name]

    pos = water.pos.clone().requires_grad_(True)
    assert torch.autograd.gradcheck(value, pos, rtol=1e-4)


def test_every_parameter_has_a_finite_gradient_also_where_mu_is_zero():
    model = build()
    batch = Batch.from_data_list(molecules())
    out = model.normalised(batch)
    assert float(out["mu"].detach()[2]) == 0  # one atom alone
    sum(value.square().sum() + value.sum() for value in out.values()).backward()
    learned = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert [n for n, p in learned.items() if p.grad is None] == []
    assert all(torch.isfinite(p.grad).all() for p in learned.values())


def test_mixed_precision_gives_numbers():
    model, batch = build(), Batch.from_data_list(molecules())
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rough = model.normalised(batch)
    exact = model.normalised(batch)
    for name, value in rough.items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(value, exact[name], rtol=0.1, atol=0.1)


def test_the_dipole_vector_turns_and_has_the_predicted_length():
    model, graph = build(dtype=torch.float64), molecules()[0]
    vector = model.dipole(graph, "mu")
    torch.testing.assert_close(vector.norm(dim=1), model(graph)["mu"])
    turned = laws.rotated(graph, seed=1)
    matrix = torch.linalg.lstsq(graph.pos, turned.pos).solution
    torch.testing.assert_close(model.dipole(turned, "mu"), vector @ matrix)
    with pytest.raises(UsageError, match="'gap' is no dipole moment"):
        model.dipole(graph, "gap")


@pytest.mark.parametrize("name", [name for name in TARGETS if name != "mu"])
def test_contributions_sum_to_the_prediction(name):
    model, batch = build(dtype=torch.float64), Batch.from_data_list(molecules())
    terms = model.contributions(batch, name=name)[name]
    total = torch.zeros(4, dtype=torch.float64).index_add(0, batch.batch, terms)
    torch.testing.assert_close(total, model(batch)[name])
    learned = model.contributions(batch, name=name, references=False)[name]
    total = torch.zeros(4, dtype=torch.float64).index_add(0, batch.batch, learned)
    learned = model.normalised(batch, name=name)[name]
    torch.testing.assert_close(total / model.readout(name).std, learned)


def test_a_dipole_has_no_contributions():
    model, graph = build(), molecules()[0]
    with pytest.raises(UsageError, match="no sum over atoms"):
        model.contributions(graph)
    with pytest.raises(UsageError, match="no sum over atoms"):
        atom_contributions(model, graph, "mu")
    assert atom_contributions(model, graph, "r2").shape == (9,)


def test_a_checkpoint_keeps_every_kind(tmp_path):
    model = build()
    with torch.no_grad():
        for parameter in model.readouts.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    molflt.save_model(model, tmp_path / "model.ckpt")
    again = molflt.load(tmp_path / "model.ckpt")
    assert again.targets == model.targets
    assert again.statistics == model.statistics
    structures = [molecule("H2O"), molecule("CH4")]
    expected = model.predict(structures)
    for name, values in again.predict(structures).items():
        assert (values == expected[name]).all()


def test_records_from_before_readouts_had_names_still_load():
    model = build(["energy", "gap"])
    record = model_record(model)
    for fields in record["targets"]:
        assert fields.pop("readout") == "atoms"
    again = model_from_record(record)
    assert again.targets == model.targets
    graph = molecules()[0]
    for name in ("energy", "gap"):
        assert torch.equal(again(graph)[name], model(graph)[name])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"readout": "trace"}, "'trace'; there are atoms, tags, attention, dipole"),
        ({"readout": "dipole"}, "needs extensive=False"),
        ({"readout": "extent", "extensive": False}, "needs extensive=True"),
    ],
)
def test_contradictory_targets_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        TargetSpec("x", **fields)
    record = model_record(build(["energy"]))
    record["targets"] = [{"name": "energy", **fields}]
    with pytest.raises(InputError, match="damaged"):
        model_from_record(record)


def test_databases_keep_the_readout(tmp_path):
    targets = tuple(TARGETS.values())
    labels = dict.fromkeys(TARGETS, 1.0)
    graph = molecules()[0]
    for name, value in labels.items():
        graph[name] = torch.tensor([value], dtype=torch.float64)
    write_lmdb(tmp_path / "a.lmdb", [graph], targets=targets)
    assert LMDBDataset(tmp_path / "a.lmdb").targets == targets


def test_predict_writes_every_target_and_goes_on_after_a_refusal(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    model = build()
    molflt.save_model(model, "model.ckpt")
    ase.io.write("good.xyz", molecule("H2O"))
    ase.io.write("slab.traj", fcc111("Cu", (1, 1, 3), vacuum=5))
    assert main(["predict", "model.ckpt", "good.xyz", "-o", "out.csv"]) == 0
    with open("out.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    for name, (value,) in model.predict([molecule("H2O")]).items():
        column = f"predicted_{name} [{model.target_spec(name).unit}]"
        assert float(row[column]) == pytest.approx(value)
    capsys.readouterr()
    words = ["predict", "model.ckpt", "slab.traj", "good.xyz", "-o", "two.csv"]
    assert main(words) == 1
    printed = capsys.readouterr().err
    assert "slab.traj" in printed
    assert "periodic structure is not defined" in printed


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "at least one target"),
        (["e", "gap", "e"], "Two targets have the name 'e'"),
        (["e.f"], "'e.f' cannot be the name"),
        (["keys"], "'keys' cannot be the name"),
        (["training"], "'training' cannot be the name"),
        ([""], "'' cannot be the name"),
    ],
)
def test_names_that_no_readout_can_have_are_refused(names, words):
    targets = [TargetSpec(name, unit=str(i)) for i, name in enumerate(names)]
    with pytest.raises(UsageError, match=words):
        FLTModel(small_encoder(), targets)
