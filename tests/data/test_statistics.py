import json

import numpy as np
import pytest

from molflt.data import statistics as module
from molflt.data.dataset import GraphList
from molflt.data.molecule import make_graph
from molflt.data.statistics import Statistics, fit_statistics
from molflt.errors import InputError
from molflt.targets import TargetSpec

ENERGY = TargetSpec("energy")
GAP = TargetSpec("gap", kind="property", extensive=False)
TRUE = {1: -13.6, 6: -1029.8, 8: -2042.6}


def molecules(count, noise=0.0, offset=0.0, seed=0):
    rng = np.random.default_rng(seed)
    graphs = []
    for index in range(count):
        z = np.repeat([1, 6, 8], rng.integers(1, 9, 3))
        energy = sum(TRUE[int(k)] for k in z) + noise * rng.normal() + offset
        graphs.append(
            make_graph(
                z,
                rng.normal(size=(len(z), 3)),
                sid=f"m{index}",
                targets={"energy": energy, "gap": rng.normal() * 2 + 7},
            )
        )
    return GraphList(graphs)


@pytest.mark.parametrize("batch", [7, 4096])
def test_references_of_a_sum_over_atoms_are_found(batch, monkeypatch):
    monkeypatch.setattr(module, "_BATCH", batch)
    found = fit_statistics(molecules(200), ENERGY)
    assert found.element_reference == pytest.approx(TRUE, rel=1e-11)
    assert found.mean == 0.0
    assert found.rmse < 1e-8
    assert found.std == 1.0  # no division by rounding errors
    assert found.elements == (1, 6, 8)
    assert found.num_structures == 200
    assert found.pbc_seen == [[False, False, False]]
    assert found.tags_seen == [-1]


def test_odd_electrons_are_of_molecules():
    closed = make_graph([1, 1, 8], np.eye(3), targets={"energy": 0.0})
    radical = make_graph([1, 8], np.eye(3)[:2], targets={"energy": 0.0})
    crystal = make_graph(
        [29],
        np.zeros((1, 3)),
        cell=3 * np.eye(3),
        pbc=[True] * 3,
        targets={"energy": 0.0},
    )
    for graphs, expected in (([closed, crystal], False), ([closed, radical], True)):
        assert fit_statistics(GraphList(graphs), ENERGY).odd_electrons_seen is expected


RELAXED = TargetSpec("energy", kind="relaxed")


def test_adsorption_energies_have_a_mean_and_no_references():
    """Slabs differ in size, and their energies say nothing about that."""
    rng = np.random.default_rng(0)
    graphs = []
    for _ in range(100):
        z = [29] * int(rng.integers(20, 40)) + [6] + [8] * int(rng.integers(1, 3))
        energy = -2.0 + 0.5 * z.count(8) + 0.3 * rng.normal()
        pos = rng.normal(size=(len(z), 3)) * 20
        graphs.append(make_graph(z, pos, targets={"energy": energy}))
    labels = np.array([g.energy.item() for g in graphs])
    found = fit_statistics(GraphList(graphs), RELAXED)
    assert found.element_reference == {}
    assert found.mean == pytest.approx(labels.mean())
    assert found.std == pytest.approx(labels.std())
    # The fit would find a little in the number of copper atoms.
    by_element = fit_statistics(GraphList(graphs), ENERGY)
    assert by_element.element_reference[29] != 0
    assert found.std > by_element.std > 0.5 * found.std


def test_total_energies_after_relaxation_have_references():
    data = molecules(200, noise=0.5)
    assert fit_statistics(data, RELAXED) == fit_statistics(data, ENERGY)


def test_fit_equals_the_dense_least_squares_solution():
    data = molecules(300, noise=0.5, offset=3.0)
    found = fit_statistics(data, ENERGY)
    counts = np.array([np.bincount(g.z, minlength=119)[[1, 6, 8]] for g in data])
    labels = np.array([g.energy.item() for g in data])
    fit, residual, *_ = np.linalg.lstsq(counts, labels, rcond=None)
    assert list(found.element_reference.values()) == pytest.approx(fit.tolist())
    assert found.std == pytest.approx(np.sqrt(residual[0] / 300), rel=1e-6)
    sizes = data.num_atoms
    assert (found.num_atoms_min, found.num_atoms_max) == (sizes.min(), sizes.max())
    assert (found.target_min, found.target_max) == (labels.min(), labels.max())


def test_one_composition_shares_the_energy_by_least_norm():
    graph = make_graph([8, 1, 1], np.eye(3), targets={"energy": -10.0})
    found = fit_statistics(GraphList([graph] * 3), ENERGY)
    assert found.element_reference == pytest.approx({1: -4.0, 8: -2.0})


def test_published_references_are_not_mistaken_for_a_fit():
    """Labels less free atoms still hold the binding energy; the fit removes it."""
    free = {z: value - 10.0 for z, value in TRUE.items()}
    data = molecules(50, noise=0.5)
    spec = TargetSpec("energy", element_reference=free)
    assert fit_statistics(data, spec) == fit_statistics(data, TargetSpec("energy"))


def test_intensive_targets_have_mean_and_deviation():
    data = molecules(300)
    found = fit_statistics(data, GAP)
    labels = np.array([graph.gap.item() for graph in data])
    assert found.element_reference == {}
    assert found.mean == pytest.approx(labels.mean())
    assert found.std == pytest.approx(labels.std())


def test_missing_labels_name_the_structure():
    graphs = [*molecules(2), make_graph([1], [[0, 0, 0]], sid="bare")]
    with pytest.raises(InputError, match="'bare' has no label 'energy'"):
        fit_statistics(GraphList(graphs), ENERGY)
    graphs[2]["energy"] = graphs[0].energy * float("inf")
    with pytest.raises(InputError, match="'bare' has the label energy = -inf"):
        fit_statistics(GraphList(graphs), ENERGY)
    with pytest.raises(InputError, match="no structure"):
        fit_statistics(GraphList([]), ENERGY)


def test_statistics_survive_json():
    found = fit_statistics(molecules(20, noise=1.0), ENERGY)
    again = Statistics.from_plain(json.loads(json.dumps(found.plain())))
    assert again == found


@pytest.mark.parametrize("factor", [1e-20, 1e20])
def test_the_spread_is_that_of_the_labels_in_any_unit(factor):
    """Energies in joules, say: nothing is called negligible for its unit."""
    graphs = molecules(50, noise=0.3)
    expected = fit_statistics(graphs, ENERGY)
    for graph in graphs:
        graph.energy = graph.energy * factor
    found = fit_statistics(graphs, ENERGY)
    assert found.std == pytest.approx(expected.std * factor)
    assert found.std == found.rmse
    for graph in graphs:
        graph.energy = 0.0 * graph.energy
    assert fit_statistics(graphs, ENERGY).std == 1.0
