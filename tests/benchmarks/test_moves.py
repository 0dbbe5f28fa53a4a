"""The auxiliary task: displacements of the atoms that a model is given."""

from dataclasses import replace

import moves
import peers
import plan
import pytest
import torch
from adsorption import DISPLACEMENTS, INTERACTION
from ase.build import add_adsorbate, fcc111
from moves import add_term, with_term
from peer_networks import import_schnetpack
from torch_geometric.data import Batch
from variants import FLT

from molflt.data.molecule import atoms_to_graph
from molflt.model import FLTEncoder, FLTModel
from molflt.targets import TargetSpec

SPEC = TargetSpec("energy", "eV", "energy")


def slabs(count=2):
    graphs = []
    for index in range(count):
        slab = fcc111("Cu", (2, 2, 3), vacuum=5.0)
        add_adsorbate(slab, "O", 1.2 + 0.2 * index, "fcc")
        graph = atoms_to_graph(slab, tags="ase")
        graph.fixed = graph.tags == 0
        graph.pos_relaxed = graph.pos + 0.1 * torch.rand_like(graph.pos)
        graphs.append(graph)
    return Batch.from_data_list(graphs)


@pytest.fixture(params=DISPLACEMENTS)
def model(request):
    torch.manual_seed(0)
    spec = replace(SPEC, interaction=request.param in INTERACTION)
    if request.param in FLT:
        return FLTModel(FLTEncoder(**FLT[request.param]), (spec,))
    try:
        import_schnetpack()
    except ImportError as error:
        pytest.skip(str(error))
    return peers.without_offset(request.param, spec, 5.0)


def test_the_models_are_in_the_plan():
    known = {run.model for run in (*plan.adsorption({}), *plan.adsorption_seeds({}))}
    assert set(DISPLACEMENTS) <= known


def test_predictions_do_not_change(model):
    batch = slabs()
    plain, nothing = with_term(model, batch, 0.0)
    assert nothing == 0.0
    add_term(model)
    found, loss = with_term(model, batch, 0.0)
    assert torch.equal(found["energy"], plain["energy"])
    assert loss > 0


def test_the_weight_falls_to_zero(model):
    batch = slabs()
    add_term(model)
    losses = [with_term(model, batch, t)[1].item() for t in (0.0, 0.5, 1.0)]
    assert losses[0] == pytest.approx(2 * losses[1], rel=1e-5)
    assert losses[2] == 0.0


def test_the_head_and_the_model_learn_from_it(model):
    add_term(model)
    _, loss = with_term(model, slabs(), 0.0)
    loss.backward()
    assert all(p.grad is not None for p in model.displacements.parameters())
    network = model.encoder if isinstance(model, FLTModel) else model.network
    assert sum(p.grad is not None for p in network.parameters()) > 5


def test_displacements_are_those_of_the_atoms_it_is_given(model, monkeypatch):
    add_term(model)
    counted = []
    forward = moves.DisplacementTerm.forward

    def spy(self, x, vec, batch, progress):
        counted.append((len(x), len(vec), len(batch.pos_relaxed)))
        return forward(self, x, vec, batch, progress)

    monkeypatch.setattr(moves.DisplacementTerm, "forward", spy)
    batch = slabs()
    with_term(model, batch, 0.0)
    assert counted == [(int((batch.tags != 0).sum()),) * 3]
