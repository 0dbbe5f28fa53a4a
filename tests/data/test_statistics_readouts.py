"""The baseline of each readout: what is fitted, and that the readout adds the same."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.data import atomic_masses
from torch_geometric.data import Batch

from molflt.data import statistics as module
from molflt.data.dataset import GraphList
from molflt.data.molecule import make_graph
from molflt.data.qm9.targets import QM9_TARGETS
from molflt.data.statistics import Statistics, fit_all_statistics, fit_statistics
from molflt.model import FLTEncoder, FLTModel
from molflt.targets import TargetSpec

EXTENT = TargetSpec("r2", "a0^2", "property", readout="extent")
DIPOLE = TargetSpec("mu", "D", "property", extensive=False, readout="dipole")
POLARISABILITY = TargetSpec("alpha", "a0^3", "property", readout="polarisability")
POOLED = TargetSpec("gap", "eV", "property", extensive=False, readout="attention")
MOMENT = {1: 3.3, 6: 21.8, 8: 28.9}
ATOM = {1: 3.5, 6: 10.5, 8: 10.2}


def molecules(count=60, noise=0.0, shift=0.0):
    rng = np.random.default_rng(0)
    graphs = []
    for index in range(count):
        z = np.repeat([1, 6, 8], rng.integers(1, 6, 3))
        pos = 4 * rng.normal(size=(len(z), 3))
        mass = atomic_masses[z]
        squares = ((pos - mass @ pos / mass.sum()) ** 2).sum(1)
        sums = [
            sum(table[int(k)] * s for k, s in zip(z, weights, strict=True))
            for table, weights in ((MOMENT, squares), (ATOM, np.ones(len(z))))
        ]
        targets = {
            "r2": sum(sums) + noise * rng.normal(),
            "alpha": sums[1] + noise * rng.normal(),
            "mu": abs(rng.normal()),
            "gap": 7 + rng.normal(),
        }
        graphs.append(make_graph(z, pos + shift, sid=str(index), targets=targets))
    return GraphList(graphs)


@pytest.mark.parametrize("shift", [0.0, 1000.0])
@pytest.mark.parametrize("batch", [7, 4096])
def test_moments_and_counts_are_found(batch, shift, monkeypatch):
    monkeypatch.setattr(module, "_BATCH", batch)
    found = fit_statistics(molecules(shift=shift), EXTENT)
    assert found.moment_reference == pytest.approx(MOMENT, rel=1e-7)
    assert found.element_reference == pytest.approx(ATOM, rel=1e-6)
    assert found.mean == 0
    assert found.rmse < 1e-6


def test_targets_together_have_the_statistics_of_each_alone(monkeypatch):
    monkeypatch.setattr(module, "_BATCH", 7)
    data = molecules(noise=0.3)
    specs = [POLARISABILITY, EXTENT, DIPOLE, POOLED]
    for spec, found in zip(specs, fit_all_statistics(data, specs), strict=True):
        alone = fit_statistics(data, spec)
        for name in ("element_reference", "moment_reference", "mean", "std"):
            expected = pytest.approx(getattr(alone, name), rel=1e-9)
            assert getattr(found, name) == expected, name
            found = replace(found, **{name: getattr(alone, name)})
        assert found == replace(alone, rmse=found.rmse)


def test_a_dipole_is_scaled_and_not_shifted():
    data = molecules()
    found = fit_statistics(data, DIPOLE)
    labels = np.array([graph.mu.item() for graph in data])
    assert (found.mean, found.element_reference) == (0, {})
    assert found.std == pytest.approx(np.sqrt((labels**2).mean()))
    assert found.elements == (1, 6, 8)


def test_the_others_are_sums_and_means():
    found = fit_statistics(molecules(), POLARISABILITY)
    assert found.element_reference == pytest.approx(ATOM)
    assert found.moment_reference == {}
    pooled = fit_statistics(molecules(), POOLED)
    mean = fit_statistics(
        molecules(), TargetSpec("gap", "eV", "property", extensive=False)
    )
    assert pooled == mean


@pytest.mark.parametrize("spec", [EXTENT, DIPOLE, POLARISABILITY, POOLED])
def test_labels_less_the_readouts_offset_have_the_fitted_spread(spec):
    """The fit and the model count the same baseline."""
    data = molecules(noise=0.3)
    found = fit_statistics(data, spec)
    again = Statistics.from_plain(json.loads(json.dumps(found.plain())))
    assert again == found
    model = FLTModel(FLTEncoder(width=16, num_layers=1, near_components=4), [spec])
    model.set_statistics(spec.name, json.loads(json.dumps(found.plain())))
    batch = Batch.from_data_list(list(data))
    labels = batch[spec.name].double()
    rest = model.normalise(spec.name, labels, batch)
    assert float(rest.square().mean()) == pytest.approx(1.0, rel=1e-4)
    back = model.physical(spec.name, rest, batch)
    torch.testing.assert_close(back, labels, rtol=1e-6, atol=1e-6)


def test_statistics_without_moments_still_load():
    plain = fit_statistics(molecules(), POLARISABILITY).plain()
    del plain["moment_reference"]
    assert Statistics.from_plain(plain).moment_reference == {}


def test_targets_of_qm9_have_their_readouts():
    readouts = {spec.name: spec.readout for spec in QM9_TARGETS}
    special = {name: r for name, r in readouts.items() if r != "atoms"}
    assert special == {"mu": "dipole", "alpha": "polarisability", "r2": "extent"}
