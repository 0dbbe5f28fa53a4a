"""Atoms are met in the order of space, and nothing but time depends on it."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from torch_geometric.data import Batch

from molflt import features
from molflt.data.molecule import atoms_to_graph
from molflt.errors import InputError
from molflt.evaluation import Request, evaluate
from molflt.graph import order
from molflt.graph.neighbors import neighbor_pairs
from molflt.graph.order import places_in, spatial_order
from molflt.graph.skin import SkinList
from tests.builders import energy_model, model_of_kinds

PATTERNS = [(False,) * 3, (True,) * 3, (True, True, False)]
LEAST = 40
CUTOFF = 3.2


@pytest.fixture(autouse=True)
def _from_few_atoms_on(monkeypatch):
    monkeypatch.setattr(order, "LEAST_ATOMS", LEAST)


def shuffled(pbc=(True,) * 3, repeat=4, seed=0):
    """A crystal with atoms in any order, each in any image of the box."""
    atoms = bulk("CuAu", "cesiumchloride", 3.0) * repeat
    rng = np.random.default_rng(seed)
    atoms.rattle(0.2, rng=rng)
    atoms = atoms[rng.permutation(len(atoms))]
    images = rng.integers(-2, 3, (len(atoms), 3)) * np.array(pbc)
    atoms.positions += images @ atoms.cell.array
    atoms.pbc = pbc
    return atoms


def batch_of(*structures):
    return Batch.from_data_list([atoms_to_graph(atoms) for atoms in structures])


@pytest.mark.parametrize("pbc", PATTERNS)
def test_neighbours_are_close_in_the_order(pbc):
    graph = atoms_to_graph(shuffled(pbc, repeat=10))
    found = spatial_order(graph, CUTOFF)
    assert torch.equal(found.sort().values, torch.arange(len(graph.z)))
    batch = torch.zeros_like(graph.z)
    pairs = neighbor_pairs(graph.pos, batch, 1, CUTOFF, graph.cell, graph.pbc)

    def apart(rank):
        return (rank[pairs.first] - rank[pairs.second]).abs().double().median()

    assert apart(places_in(found)) < apart(torch.arange(len(graph.z))) / 5


def test_graphs_stay_together_and_small_ones_as_they_are():
    data = batch_of(shuffled(), molecule("C6H6"), shuffled(seed=1))
    found = spatial_order(data, CUTOFF)
    assert torch.equal(data.batch[found], data.batch)
    (small,) = (data.batch == 1).nonzero(as_tuple=True)
    assert torch.equal(found[small], small)
    assert not torch.equal(found, found.sort().values)
    assert spatial_order(batch_of(*[molecule("C6H6")] * 9), CUTOFF) is None  # 108 atoms
    assert spatial_order(atoms_to_graph(molecule("CH4")), CUTOFF) is None


def test_atoms_in_one_place_far_from_another_have_an_order():
    positions = np.concatenate([np.zeros((LEAST, 3)), [[1e9, 0, 0]]])
    graph = atoms_to_graph(Atoms("H", [[0, 0, 0.0]]))
    graph.z, graph.pos = torch.ones(LEAST + 1).long(), torch.from_numpy(positions)
    assert torch.equal(spatial_order(graph, CUTOFF), torch.arange(LEAST + 1))
    graph.pos[-1] = 0
    assert torch.equal(spatial_order(graph, CUTOFF), torch.arange(LEAST + 1))


@pytest.mark.parametrize("far_heads", [0, 1])
@pytest.mark.parametrize("keeps", [False, True], ids=["searched", "kept"])
def test_nothing_depends_on_the_order(keeps, far_heads, monkeypatch):
    options = {"num_far_heads": far_heads, "far_band": 0.3, "far_min_width": 0.04}
    model = model_of_kinds("potential", options=options).double().eval()
    data = batch_of(shuffled(), shuffled(seed=1, repeat=3))
    name = model.targets[0].name
    request = Request((), energy=name, shares=True, forces=True, stress=True)
    ordered, whole = [], features.part_of
    monkeypatch.setattr(
        features, "part_of", lambda *args: ordered.append(1) or whole(*args)
    )

    def found():
        skin = SkinList(model.encoder.cutoff) if keeps else None
        return evaluate(model, data, request, skin).arrays

    in_space = found()
    assert len(ordered) == 1
    monkeypatch.setattr(order, "LEAST_ATOMS", 10**9)
    as_given = found()
    assert len(ordered) == 1
    assert in_space.keys() == as_given.keys() >= {"energies", "forces", "stress"}
    for key, value in in_space.items():
        np.testing.assert_allclose(value, as_given[key], rtol=1e-8, atol=1e-9)


def test_the_order_refuses_the_same_cells_as_the_search():
    graph = atoms_to_graph(shuffled())
    graph.cell[0, 0] *= 499 * CUTOFF / graph.cell[0, 0].norm()
    assert spatial_order(graph, CUTOFF) is not None
    with pytest.raises(InputError, match="lattice vector is 1596.* must be between"):
        spatial_order(graph, CUTOFF / 2)


def test_who_watches_meets_atoms_in_their_own_order():
    model = energy_model({})
    data = batch_of(shuffled())
    received = []
    hook = model.encoder.embedding.register_forward_pre_hook(
        lambda _, args: received.append(args[0])
    )
    with torch.no_grad():
        watched = model(data)
        assert torch.equal(received.pop(), data.z)
        hook.remove()
        alone = model(data)
    for name, value in watched.items():
        torch.testing.assert_close(alone[name], value, rtol=1e-5, atol=1e-5)
