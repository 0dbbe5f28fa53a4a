"""Encoders that leave sub-surface atoms out do so everywhere, exactly."""

import numpy as np
import pytest
import torch
from ase.build import add_adsorbate, fcc111
from torch_geometric.data import Batch, Data

from molflt import analysis, checkpoint
from molflt.data.molecule import atoms_to_graph
from molflt.errors import InputError
from molflt.evaluation import Request, evaluate
from molflt.graph.subsurface import part_of, seen_atoms
from molflt.nn.near.paths import COSTS
from molflt.report.content import report_content
from molflt.training.displacement import DisplacementTerm
from tests.builders import energy_model, molecules


@pytest.fixture
def graph():
    atoms = fcc111("Cu", (2, 1, 3), vacuum=5)
    add_adsorbate(atoms, "O", 1.3, "fcc")
    atoms.pbc = True
    return atoms_to_graph(atoms, tags="ase")


FORMS = {"masked": {}, "scalar": {"vector_width": 0}}


@pytest.fixture(params=FORMS.values(), ids=FORMS)
def model(request):
    return energy_model({"skip_subsurface": True} | request.param, dtype=torch.float64)


FIELDS = ("z", "pos", "cell", "pbc", "tags")


def without(graph):
    return part_of(graph, graph.tags.nonzero().squeeze(1))


def test_what_is_left_is_surface_and_adsorbate(graph):
    index = seen_atoms(graph)
    assert (graph.tags == 0).sum() == len(graph.z) - len(index) > 0
    assert (graph.tags[index] > 0).all()
    part = part_of(graph, index)
    torch.testing.assert_close(part.pos, graph.pos[index])
    assert torch.equal(part.cell, graph.cell)
    assert seen_atoms(part) is None


def test_structures_without_tags_are_seen_whole(graph, model):
    (plain, *_) = molecules()
    assert model.encoder.seen(plain) is plain
    del graph.tags
    assert seen_atoms(graph) is None


def test_the_energy_is_that_of_the_other_atoms(graph, model):
    whole, part = model(graph)["energy"], model(without(graph))["energy"]
    torch.testing.assert_close(whole, part, rtol=0, atol=0)
    moved = graph.clone()
    moved.pos[graph.tags == 0] += torch.randn(3)
    torch.testing.assert_close(model(moved)["energy"], whole, rtol=0, atol=0)
    moved.pos[graph.tags == 2] += 0.1
    assert (model(moved)["energy"] - whole).abs() > 1e-6


def test_models_that_see_them_differ(graph):
    model = energy_model({}, dtype=torch.float64)
    assert (model(graph)["energy"] - model(without(graph))["energy"]).abs() > 1e-6


@pytest.mark.parametrize("path", ["dense", "linear"])
def test_batches_of_all_kinds(graph, model, path):
    graphs = [graph, without(graph), molecules()[0], graph]
    graphs = [Data(**{key: each[key] for key in FIELDS}) for each in graphs]
    found = model(Batch.from_data_list(graphs), path)["energy"]
    alone = torch.cat([model(each)["energy"] for each in graphs])
    # Beside periodic structures, molecules have far heads with an error, too.
    torch.testing.assert_close(found, alone, rtol=1e-6, atol=1e-6)


def test_shares_and_forces_of_what_is_left_out_are_zero(graph, model):
    hidden = graph.tags == 0
    shares = model.contributions(graph, references=False)["energy"]
    assert not shares[hidden].any()
    torch.testing.assert_close(
        shares[~hidden], model.contributions(without(graph), references=False)["energy"]
    )
    forces = model.energy_and_forces(graph).forces
    assert not forces[hidden].any()
    torch.testing.assert_close(
        forces[~hidden], model.energy_and_forces(without(graph)).forces
    )


def test_calculators_agree(graph, model, monkeypatch):
    request = Request([], "energy", forces=True, shares=True)
    found = evaluate(model, graph, request).arrays
    assert found["energies"].shape == (len(graph.z),)
    assert found["energies"].sum() == pytest.approx(
        model(graph)["energy"].item(), abs=1e-9
    )
    assert found["forces"].shape == (len(graph.z), 3)
    monkeypatch.setattr(COSTS, "stream_edges", 0)
    streamed = evaluate(model, graph, request).arrays
    assert streamed["energies"] == pytest.approx(found["energies"], abs=1e-9)


def test_a_slab_of_hidden_atoms_alone_is_refused(graph, model):
    bad = graph.clone()
    bad.tags[:] = 0
    bad.sid = "cu-slab"
    with pytest.raises(InputError, match="cu-slab has sub-surface atoms alone"):
        model(bad)
    with pytest.raises(InputError, match="Structure 1 has sub-surface"):
        model(Batch.from_data_list([graph, graph.clone().update({"tags": bad.tags})]))


def test_checkpoints_keep_the_option(graph, model, tmp_path):
    path = tmp_path / "model.ckpt"
    checkpoint.save_model(model, path)
    loaded = checkpoint.load(path).double()
    assert loaded.encoder.skip_subsurface
    torch.testing.assert_close(loaded(graph)["energy"], model(graph)["energy"])


def test_displacements_are_those_of_seen_atoms(graph):
    model = energy_model({"skip_subsurface": True}, dtype=torch.float64)
    term = DisplacementTerm(model.encoder, "l1", 1.0, "linear").double()
    graph.pos_relaxed = graph.pos.clone()
    graph.pos_relaxed[graph.tags == 0] += 5.0
    batch = Batch.from_data_list([graph])
    seen = model.encoder.seen(batch)
    _, errors = term(*model.encoder(seen), seen, 0.0)
    other = batch.clone()
    other.pos_relaxed = batch.pos.clone()
    _, same = term(*model.encoder(seen), model.encoder.seen(other), 0.0)
    assert float(errors.mean()) == float(same.mean())


def test_analysis_has_zeros_for_what_is_left_out(graph, model):
    seen = (graph.tags > 0).numpy()
    part = model.encoder.seen(graph)
    for function in (analysis.attention_rows, analysis.message_attribution):
        whole = function(model, graph, np.arange(len(graph.z)))
        alone = function(model, part, np.arange(len(part.z)))
        for one, two in zip(whole, alone, strict=True):
            (found, expected) = (
                getattr(each, "weights", getattr(each, "effects", None))
                for each in (one, two)
            )
            assert not found[:, ~seen].any()
            assert not found[:, :, ~seen].any()
            assert found[:, seen][:, :, seen] == pytest.approx(expected, rel=1e-9)
    (rows, *_) = analysis.attention_rows(model, graph, np.flatnonzero(~seen)[:1])
    assert not rows.weights.any()


def test_the_inspector_shows_whole_structures(graph, model):
    content = report_content(model, graph)
    assert len(content["z"]) == len(graph.z)
    assert any("sub-surface" in note for note in content["notes"])
