"""Which way far heads are evaluated."""

import math

import pytest
from ase.build import bulk

from molflt.errors import InputError
from molflt.nn.far.cost import FarCosts
from tests.nn.conftest import (
    make_geometry,
    open_structures,
)

from .far_heads import NUFFT, WAVES, far, features, relative_errors


@pytest.mark.parametrize("periodic", [True, False])
def test_costs_choose_and_both_sides_of_a_boundary_agree(periodic):
    """Dense below a size, transforms above; the values do not jump there."""
    module = far(True, 1e-6, FarCosts(wave=math.inf), band=0.3, min_width=0.05)
    sizes = [3, 12, 48, 96, 192]
    systems = []
    for size in sizes:
        atoms = bulk("Cu", cubic=True) * (2, 4, size)
        atoms.pbc = periodic
        systems.append(make_geometry([atoms], cutoff=1.5))
    ways = [module.way(geometry) for geometry, _ in systems]
    assert ways[0] == "dense"
    assert ways[-1] == "nufft"
    boundary = ways.index("nufft")
    assert set(ways[boundary:]) == {"nufft"}
    geometry, pos = make_geometry([bulk("Cu", cubic=True) * (2, 4, 3)], cutoff=1.5)
    x = features(len(pos))
    rows = [[y.detach() for y in module(x, geometry, "dense")]]
    for costs in (FarCosts(wave=math.inf, transform=0.0, node=0.0), WAVES):
        module.costs = costs
        errors = relative_errors(module, x, geometry, rows[0])
        assert max(errors) < 1e-6


@pytest.mark.parametrize("path", ["dense", "linear"])
def test_cost_overrides_decide(path):
    geometry, _ = make_geometry(open_structures())
    assert far(costs=NUFFT).way(geometry, "linear") == "nufft"
    assert far(costs=WAVES).way(geometry, "linear") == "waves"
    assert far(costs=NUFFT).way(geometry, "dense") == "dense"
    assert far(costs=NUFFT).way(geometry, "auto") == "dense"  # small and open


def test_grids_beyond_memory_are_refused(monkeypatch):
    geometry, pos = make_geometry(open_structures())
    monkeypatch.setattr("molflt.nn.far.lattice.MAX_GRID", 100)
    with pytest.raises(InputError, match="far_band"):
        far(costs=NUFFT)(features(len(pos)), geometry, "linear")


def test_without_finufft_waves_are_taken_while_they_fit(monkeypatch):
    monkeypatch.setattr("molflt.nn.far.nufft.find_spec", lambda name: None)
    geometry, pos = make_geometry(open_structures())
    module = far(costs=FarCosts(node=1e-30, frequency=0.0, transform=0.0))
    assert module.way(geometry, "linear") == "waves"
    monkeypatch.setattr("molflt.nn.far.cost.MAX_PHASES", 10)
    with pytest.raises(InputError, match="pip install finufft"):
        module(features(len(pos)), geometry, "linear")
