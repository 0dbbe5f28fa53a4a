"""Energies that count from adsorbate and slab apart: what cancels, and that it does."""

from dataclasses import replace

import ase.io
import numpy as np
import pytest
import torch
from ase.build import add_adsorbate, fcc111, molecule

from molflt import checkpoint
from molflt.calculator import FLTCalculator
from molflt.data.batching import collate
from molflt.data.dataset import GraphList
from molflt.data.molecule import atoms_to_graph
from molflt.data.statistics import fit_statistics
from molflt.domain import Domain
from molflt.errors import InputError, UsageError
from molflt.evaluation import Request, evaluate
from molflt.graph.skin import SkinList
from molflt.model import FLTEncoder, FLTModel
from molflt.read_structures import read_structures
from molflt.targets import TargetSpec
from molflt.testing import rotation_error
from molflt.training.pretrained import Pretrained
from molflt.training.targets import chosen_targets
from tests.builders import adsorbed

SPEC = TargetSpec("energy", "eV", "relaxed", interaction=True)
STATISTICS = {"element_reference": {}, "mean": 0.0, "std": 0.7}


@pytest.fixture(params=[False, True], ids=["all", "no subsurface"])
def model(request):
    torch.manual_seed(0)
    encoder = FLTEncoder(
        width=24,
        num_layers=2,
        num_near_heads=2,
        num_far_heads=0,
        skip_subsurface=request.param,
    )
    model = FLTModel(encoder, [SPEC]).double().eval()
    model.set_statistics("energy", STATISTICS)
    return model


def plain(model):
    """The same model without the option."""
    spec = TargetSpec("energy", kind="relaxed")
    other = FLTModel(model.encoder, [spec]).double().eval()
    other.readouts.load_state_dict(model.readouts.state_dict())
    return other


def part(graph, *tags):
    """The atoms with these tags, in the same cell."""
    atoms = graph.clone()
    keep = torch.isin(atoms.tags, torch.tensor(tags))
    for key in ("z", "pos", "tags", "fixed"):
        atoms[key] = atoms[key][keep]
    return atoms


def energies(model, *graphs):
    return model(collate(list(graphs)))["energy"]


def test_it_is_what_the_slab_adds_to_the_adsorbate(model):
    graphs = [adsorbed(), adsorbed("NH3"), adsorbed("H2O", 2.5)]
    for graph, found in zip(graphs, energies(model, *graphs), strict=True):
        whole, alone = (
            plain(model).contributions(atoms)["energy"][atoms.tags == 2].sum()
            for atoms in (graph, part(graph, 2))
        )
        torch.testing.assert_close(found, whole - alone)
        assert (found - whole).abs() > 1e-4


def test_parts_that_are_far_apart_have_no_energy(model):
    far = [adsorbed(name, 11.0) for name in ("OH", "CH4")]
    assert energies(model, *far).abs().max() < 1e-10
    assert energies(model, adsorbed()).abs() > 1e-3


def test_a_part_alone_has_no_energy(model):
    graph = adsorbed("CH4")
    for tags in [(2,), (0, 1)]:
        assert energies(model, part(graph, *tags)).abs() < 1e-12


def test_graphs_do_not_depend_on_their_batch(model):
    graphs = [adsorbed(), atoms_to_graph(molecule("H2O"), tags="none"), adsorbed("CH4")]
    graphs[1].pbc, graphs[1].cell = graphs[0].pbc.clone(), graphs[0].cell.clone()
    graphs.append(part(adsorbed(), 0, 1))
    one_by_one = torch.cat([model(graph)["energy"] for graph in graphs])
    torch.testing.assert_close(energies(model, *graphs), one_by_one)


def test_shares_of_atoms_add_up(model):
    batch = collate([adsorbed(), adsorbed("NH3")])
    shares = model.contributions(batch)["energy"]
    total = torch.zeros(2).double().index_add(0, batch.batch, shares)
    torch.testing.assert_close(total, model(batch)["energy"])


def test_turning_the_system_changes_nothing(model):
    graph = adsorbed(pbc=False)
    assert rotation_error(lambda data: model.normalised(data)["energy"], graph) < 1e-10


def test_wrapping_the_adsorbate_changes_nothing(model):
    graph = adsorbed("CH4")
    moved = graph.clone()
    moved.pos[-1] += graph.cell[0, 0] - graph.cell[0, 1]
    torch.testing.assert_close(model(graph)["energy"], model(moved)["energy"])


def test_ways_of_evaluation_agree(model):
    batch = collate([adsorbed(), adsorbed("NH3")])
    expected = model(batch)["energy"]
    for path in ("dense", "linear"):
        torch.testing.assert_close(model(batch, path)["energy"], expected)
    skin = SkinList(model.encoder.cutoff)
    for _ in range(2):
        found = evaluate(model, batch, Request([], "energy", shares=True), skin).arrays
        np.testing.assert_allclose(found["energy"], expected.detach())
    features = model.features(batch)
    for number in range(2):
        (own,) = model.read(features.of_graph(number))["energy"]
        torch.testing.assert_close(own, model.read(features)["energy"][number])


def test_derivatives_are_those_of_the_difference(model):
    """Of a potential energy that counts from adsorbate and slab apart."""
    spec = TargetSpec("energy", interaction=True)
    potential = FLTModel(model.encoder, [spec]).double()
    potential.readouts.load_state_dict(model.readouts.state_dict())
    graph = adsorbed()
    forces = potential.energy_and_forces(graph, "energy").forces
    for atom in (len(graph.z) - 1, 9):
        ends = []
        for step in (-1e-4, 1e-4):
            moved = graph.clone()
            moved.pos[atom, 2] += step
            ends.append(potential(moved)["energy"])
        slope = (ends[1] - ends[0]) / 2e-4
        torch.testing.assert_close(-slope, forces[atom, 2:], rtol=1e-5, atol=1e-7)


def test_checkpoints_keep_it(model, tmp_path):
    path = tmp_path / "a.ckpt"
    checkpoint.save_model(model, path)
    loaded = checkpoint.load(path).double()
    assert loaded.targets == (SPEC,)
    torch.testing.assert_close(
        loaded(adsorbed())["energy"], model(adsorbed())["energy"]
    )


def test_calculators_have_it(model):
    atoms = fcc111("Cu", (2, 2, 3), vacuum=12)
    add_adsorbate(atoms, molecule("OH"), 1.8, "fcc")
    atoms.pbc = True
    expected = model(atoms_to_graph(atoms, tags="ase"))["energy"].item()
    with pytest.warns(UserWarning, match="no summary of its training set"):
        atoms.calc = FLTCalculator(model)
    assert atoms.get_potential_energy() == pytest.approx(expected)


def test_structures_without_tags_are_refused(model, tmp_path):
    """Their energy would be 0, whatever they are."""
    atoms = fcc111("Cu", (2, 2, 3), vacuum=12)
    bare = atoms.copy()
    add_adsorbate(atoms, molecule("OH"), 1.8, "fcc")
    assert model.predict([bare])["energy"] == 0
    atoms.set_tags(0)
    with pytest.raises(
        InputError, match=r"Structure 1 \(.*\) has no tags, and the model's"
    ):
        model.predict([bare, atoms])
    path = tmp_path / "slabs.traj"
    ase.io.write(path, [bare, atoms])
    found = list(read_structures(path, [], Domain([model])))
    assert "slabs.traj, frame 1 has no tags" in str(found[1])
    assert found[0].system["tags"].max() == 1


def test_only_sums_over_atoms_have_parts():
    with pytest.raises(ValueError, match="is no plain sum over atoms"):
        TargetSpec("gap", extensive=False, interaction=True)
    gap = TargetSpec("gap", "eV", "property", extensive=False)
    with pytest.raises(
        UsageError, match=r"interaction_energy: .*'gap' is no plain sum"
    ):
        chosen_targets([gap], None, interaction_energy=True)
    with pytest.raises(UsageError, match="set tag_weighted_readout to false"):
        chosen_targets([SPEC], None, tag_weighted_readout=True, interaction_energy=True)


def test_nothing_is_learned_as_a_baseline():
    graphs = [adsorbed(), adsorbed("NH3")]
    for graph, energy in zip(graphs, [-1.0, -7.0], strict=True):
        graph.energy = energy
    found = fit_statistics(GraphList(graphs), SPEC)
    assert (found.element_reference, found.mean) == ({}, 0.0)
    assert found.std == pytest.approx(5.0)


def test_labels_without_adsorbates_are_refused():
    graph = atoms_to_graph(molecule("H2O"), tags="none")
    graph.energy = 1.0
    with pytest.raises(InputError, match="No structure has an atom with tag 2"):
        fit_statistics(GraphList([graph]), SPEC)


def test_references_are_those_of_the_adsorbate_alone(model):
    """Copper is in the slab and, in the last, in the adsorbate."""
    graphs = [adsorbed(), adsorbed("H2O", 2.5), adsorbed("O")]
    graphs[-1].z[graphs[-1].tags == 2] = 29
    before = energies(model, *graphs)
    references = {1: -2.0, 8: 5.0, 29: 100.0}
    model.set_statistics("energy", STATISTICS | {"element_reference": references})
    moved = energies(model, *graphs) - before
    assert moved.tolist() == pytest.approx([3.0, 1.0, 100.0], abs=1e-9)
    shares = model.contributions(collate(graphs))["energy"]
    assert shares.sum().item() == pytest.approx(energies(model, *graphs).sum().item())


def test_a_shift_moves_the_zero_of_the_adsorbate(model, tmp_path, caplog):
    """Labels that count from other gases than the checkpoint's, on the same slabs."""
    graphs = [adsorbed(name) for name in ("OH", "H2O", "O", "H")]
    for graph in graphs:
        graph.energy = torch.tensor([1.0])
    model.set_statistics("energy", fit_statistics(GraphList(graphs), SPEC).plain())
    path = tmp_path / "old.ckpt"
    checkpoint.save_model(model, path)
    shift = {1: 0.7, 8: -4.2}
    for graph, energy in zip(graphs, energies(model, *graphs), strict=True):
        moved = sum(shift[z] for z in graph.z[graph.tags == 2].tolist())
        graph.energy = energy.detach()[None] + moved
    in_data = replace(SPEC, interaction=False)  # data do not say what a sum goes over
    start = Pretrained(path).adapted([in_data], GraphList(graphs)).eval()
    labels = torch.cat([graph.energy for graph in graphs])
    torch.testing.assert_close(energies(start, *graphs), labels, rtol=0, atol=1e-9)
    assert "do not determine" not in caplog.text
    checkpoint.save_model(start, path)
    again = energies(checkpoint.load(path), *graphs)
    torch.testing.assert_close(again, labels, rtol=0, atol=1e-9)
    Pretrained(path).adapted([in_data], GraphList(graphs[:1]))
    assert "references of H, O one by one" in caplog.text
