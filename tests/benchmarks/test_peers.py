import copy

import numpy as np
import peers
import pytest
import torch
from ase import Atoms
from ase.build import add_adsorbate, fcc111, molecule
from peer_networks import find_pairs, import_schnetpack
from peers import PEERS, build_peer
from torch_geometric.data import Batch

from molflt.data.dataset import GraphList
from molflt.data.molecule import atoms_to_graph
from molflt.data.qm9.targets import qm9_targets
from molflt.data.statistics import fit_statistics
from molflt.gradients import energy_and_forces
from molflt.targets import TargetSpec

SPEC = TargetSpec("energy", "eV", "property")
NAMES = ["CH3OH", "H2O", "C2H6", "HCOOH", "CH3CHO", "NH3", "CH4", "C2H4"]


def graphs(names=NAMES, turned=None, **labels):
    made = []
    for index, name in enumerate(names):
        atoms = molecule(name)
        if turned is not None:
            atoms.positions = atoms.positions @ turned.T + 3.0
        made.append(atoms_to_graph(atoms, targets={"y": 1.0 * index, **labels}))
    return made


def peer(name, spec):
    if name.startswith("PaiNN"):
        _schnetpack()
    elif name.startswith("ET"):
        pytest.importorskip("torchmdnet")
    torch.manual_seed(0)
    labelled = graphs(**{spec.name: 1.0})
    for index, graph in enumerate(labelled):
        graph[spec.name] = torch.tensor([float(index)], dtype=torch.float64)
    return build_peer(name, spec, fit_statistics(GraphList(labelled), spec))


def _schnetpack():
    try:
        import_schnetpack()
    except ImportError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def rotation():
    return np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]


def test_pairs_of_molecules_are_all_within_the_cutoff():
    batch = Batch.from_data_list(graphs())
    pairs = find_pairs(batch, 2.0)
    distance = torch.cdist(batch.pos, batch.pos)
    same = batch.batch[:, None] == batch.batch
    near = (distance < 2.0) & same & ~torch.eye(len(distance), dtype=torch.bool)
    found = set(zip(pairs.center.tolist(), pairs.neighbor.tolist(), strict=True))
    assert found == {tuple(pair) for pair in near.nonzero().tolist()}
    expected = batch.pos[pairs.neighbor] - batch.pos[pairs.center]
    assert torch.allclose(pairs.vector.double(), expected, atol=1e-6)


def test_pairs_of_slabs_include_images():
    slab = fcc111("Cu", (1, 1, 2), vacuum=5.0)
    batch = Batch.from_data_list([atoms_to_graph(slab), atoms_to_graph(slab)])
    pairs = find_pairs(batch, 3.0)
    lengths = pairs.vector.norm(dim=1)
    # An atom of an fcc(111) surface has six neighbours in the plane, three below.
    assert torch.bincount(pairs.center).tolist() == [9] * 4
    assert torch.allclose(lengths, torch.full_like(lengths, 3.61 / 2**0.5), atol=1e-4)


def test_peers_can_leave_subsurface_atoms_out():
    slab = fcc111("Cu", (2, 2, 3), vacuum=5.0)
    graph = atoms_to_graph(slab, tags="ase")
    torch.manual_seed(0)
    model = peers.without_offset("SchNet surface", SPEC, 4.0)
    whole = model(graph)["energy"]
    moved = graph.clone()
    moved.pos[graph.tags == 0] += 0.2
    assert torch.equal(model(moved)["energy"], whole)
    model.skip_subsurface = False
    assert not torch.isclose(model(moved)["energy"], whole)


def test_interactions_count_from_the_parts():
    _schnetpack()
    slab = fcc111("Cu", (2, 2, 3), vacuum=12.0)
    add_adsorbate(slab, molecule("OH"), 1.8)
    graph = atoms_to_graph(slab, tags="ase")
    spec = TargetSpec("energy", "eV", "property", interaction=True)
    torch.manual_seed(0)
    model = peers.without_offset("PaiNN Bessel interaction", spec, 5.0)
    plain = peers.without_offset("PaiNN Bessel interaction", SPEC, 5.0)
    plain.load_state_dict(model.state_dict())
    found = model(Batch.from_data_list([graph, graph]))["energy"]
    values = []
    for keep in (graph.tags > 0, graph.tags == 2, graph.tags == 1):
        part = graph.clone()
        for key in ("z", "pos", "tags"):
            part[key] = graph[key][keep]
        values.append(plain(part)["energy"])
    whole, adsorbate, top = values
    expected = (whole - adsorbate - top).expand(2)
    assert torch.allclose(found, expected, atol=1e-6)
    graph.pos[graph.tags == 2] += torch.tensor([0.0, 0.0, 7.0])
    assert model(graph)["energy"].abs() < 1e-6 < found.abs().min()


@pytest.mark.parametrize("target", ["u0", "gap", "mu", "r2", "alpha"])
@pytest.mark.parametrize("name", ["SchNet", "PaiNN", "PaiNN Bessel", "ET"])
def test_predictions_do_not_depend_on_frame_or_batch(name, target, rotation):
    (spec,) = qm9_targets(target)
    model = peer(name, spec).eval()
    with torch.no_grad():
        whole = model(Batch.from_data_list(graphs()))[target]
        turned = model(Batch.from_data_list(graphs(turned=rotation)))[target]
        alone = torch.cat([model(Batch.from_data_list([g]))[target] for g in graphs()])
    assert whole.shape == (len(NAMES),)
    assert whole.dtype == torch.float64
    assert whole.std() > 0
    assert torch.allclose(whole, turned, rtol=1e-4, atol=1e-4)
    assert torch.allclose(whole, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["SchNet", "PaiNN", "ET"])
def test_normalise_is_the_inverse_of_physical(name):
    (spec,) = qm9_targets("r2")
    model = peer(name, spec)
    batch = Batch.from_data_list(graphs())
    values = torch.linspace(-1, 1, len(NAMES))
    there = model.physical("r2", values, batch)
    assert torch.allclose(model.normalise("r2", there, batch), values, atol=1e-5)


@pytest.mark.parametrize("name", ["PaiNN", "ET"])
def test_forces_are_slopes_of_the_energy(name):
    model = peer(name, TargetSpec("y")).eval()
    (graph,) = graphs(["CH3OH"])
    forces = energy_and_forces(model, Batch.from_data_list([graph])).forces
    step = 1e-2
    for atom, axis in ((0, 0), (2, 1), (5, 2)):
        energies = []
        for sign in (1, -1):
            moved = copy.copy(graph)
            moved.pos = graph.pos.clone()
            moved.pos[atom, axis] += sign * step
            energies.append(model(Batch.from_data_list([moved]))["y"].item())
        slope = -(energies[0] - energies[1]) / (2 * step)
        assert forces[atom, axis].item() == pytest.approx(slope, rel=2e-2, abs=2e-3)


def test_given_pairs_are_those_of_the_transformers_own_search():
    pytest.importorskip("torchmdnet")
    model = peer("ET", TargetSpec("y")).eval()
    own = copy.deepcopy(model)
    from torchmdnet.models.utils import OptimizedDistance

    search = OptimizedDistance(0.0, 5.0, -128, return_vecs=True, loop=True)
    own.network.net.representation_model.distance = search
    batch = Batch.from_data_list(graphs())
    with torch.no_grad():
        assert torch.allclose(model(batch)["y"], own(batch)["y"], atol=1e-5)


@pytest.mark.parametrize("name", ["SchNet", "PaiNN", "ET"])
def test_copies_do_not_share_neighbours(name):
    model = peer(name, TargetSpec("y")).eval()
    other = copy.deepcopy(model)
    batch = Batch.from_data_list(graphs())
    with torch.no_grad():
        before = model(batch)["y"]
        for parameter in model.parameters():
            parameter.zero_()
        assert torch.equal(other(batch)["y"], before)


def test_slabs_work_with_a_cutoff_for_all():
    _schnetpack()
    slab = fcc111("Cu", (2, 2, 2), vacuum=5.0)
    bigger = slab.repeat((2, 1, 1))
    spec = TargetSpec("energy", kind="relaxed")
    graph = atoms_to_graph(slab, targets={"energy": 1.0})
    statistics = fit_statistics(GraphList([graph]), spec)
    for name in ("SchNet", "PaiNN"):
        model = build_peer(name, spec, statistics, cutoff=5.0).eval()
        with torch.no_grad():
            one = model(Batch.from_data_list([graph]))["energy"]
            two = model(Batch.from_data_list([atoms_to_graph(bigger)]))["energy"]
        assert torch.allclose(2 * one, two, rtol=1e-4)


def test_published_configurations_have_their_size():
    pytest.importorskip("torchmdnet")
    network, cutoff, options = PEERS["ET 256"]
    model = network(TargetSpec("y"), cutoff, **options)
    # 6.87 M parameters in the paper, arXiv:2202.02541, Table 7.
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(6.87e6, rel=0.01)


def test_isolated_atom_is_no_trouble():
    for name in ("SchNet", "PaiNN"):
        model = peer(name, TargetSpec("y")).eval()
        graph = atoms_to_graph(Atoms("H"), targets={"y": 0.0})
        with torch.no_grad():
            assert model(Batch.from_data_list([graph]))["y"].isfinite().all()
