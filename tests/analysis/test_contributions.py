import numpy as np
import pytest
from torch_geometric.data import Batch

from molflt.analysis import atom_contributions, energy_contributions
from molflt.errors import UsageError
from molflt.targets import TargetSpec

from .conftest import build_model, molecule_graph

REFERENCES = {1: -13.6, 6: -1030.0, 8: -2043.0, 29: 3.5}


@pytest.mark.parametrize("extensive", [True, False])
def test_contributions_sum_to_the_prediction(graph, extensive):
    model = build_model(targets=[TargetSpec("energy", extensive=extensive)])
    model.set_statistics(
        "energy", {"element_reference": REFERENCES, "mean": 0.7, "std": 2.5}
    )
    terms = atom_contributions(model, graph)
    assert terms.shape == (len(graph.z),)
    energy = model(graph)["energy"].item()
    np.testing.assert_allclose(terms.sum(), energy, rtol=1e-5)
    learned = atom_contributions(model, graph, references=False)
    assert np.ptp(learned) > 0
    offset = sum(REFERENCES[z] for z in graph.z.tolist()) + 0.7
    np.testing.assert_allclose(learned.sum(), energy - offset, rtol=1e-5, atol=1e-9)


def test_the_target_must_be_named_among_several():
    targets = [TargetSpec("energy"), TargetSpec("gap", extensive=False)]
    model, graph = build_model(targets=targets), molecule_graph()
    with pytest.raises(UsageError, match="several targets; .* one of energy, gap"):
        atom_contributions(model, graph)
    gap = atom_contributions(model, graph, "gap")
    np.testing.assert_allclose(gap.sum(), model(graph)["gap"].item(), rtol=1e-5)
    with pytest.raises(UsageError, match="batch of 2"):
        atom_contributions(model, Batch.from_data_list([graph, graph]), "gap")


def test_contributions_with_forces(graph):
    model = build_model()
    model.set_statistics(
        "energy", {"element_reference": REFERENCES, "mean": 0.0, "std": 2.5}
    )
    got = energy_contributions(model, graph)
    np.testing.assert_allclose(got.terms.sum(), got.value, rtol=1e-5)
    offset = [REFERENCES[z] for z in graph.z.tolist()]
    np.testing.assert_allclose(got.terms - got.learned, offset, rtol=1e-12)
    expected = model.energy_and_forces(graph)
    np.testing.assert_allclose(got.forces, expected.forces)
    np.testing.assert_allclose(got.value, expected.energy)
    assert (got.target, got.unit) == ("energy", "eV")


def test_relaxed_energies_have_no_forces(graph):
    model = build_model(targets=[TargetSpec("energy", kind="relaxed")])
    got = energy_contributions(model, graph)
    assert got.forces is None
    np.testing.assert_allclose(got.value, model(graph)["energy"].item())
