"""The path of near heads: the cheaper one, and the same numbers on both sides."""

import pytest
import torch
from ase.build import molecule

from molflt.model import FLTEncoder
from molflt.nn.near import paths
from molflt.nn.near.paths import can_stream, near_path
from tests.nn.conftest import make_geometry


@pytest.fixture
def costs(monkeypatch):
    """Constants to be changed by a test."""
    own = paths.Costs()
    monkeypatch.setattr(paths, "can_compile", lambda: True)
    monkeypatch.setattr(paths, "COSTS", own)
    return own


def test_small_graphs_are_dense_and_large_ones_are_not():
    small, _ = make_geometry([molecule("C6H6")] * 3)
    assert near_path("auto", small) == "dense"
    chain = molecule("H2O", vacuum=1.0) * (400, 1, 1)
    chain.pbc = False
    large, _ = make_geometry([chain])
    assert near_path("auto", large) in ("linear", "streamed")


def test_without_compiled_loops_graphs_stay_dense_longer(costs, monkeypatch):
    geometry, _ = make_geometry([molecule("C6H6"), molecule("H2O")])
    costs.dense_slot, costs.linear_edge, costs.linear_once = 1.0, 0.0, 0.0
    assert near_path("auto", geometry) == "linear"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert near_path("auto", geometry) == "dense"
    monkeypatch.setattr(paths, "can_compile", lambda: False)
    assert near_path("auto", geometry) == "dense"
    costs.torch_edge = 0.0
    assert near_path("auto", geometry) == "linear"


def test_the_boundary_is_where_costs_are_equal(costs):
    geometry, _ = make_geometry([molecule("C6H6"), molecule("H2O")])
    edges, slots = 2 * len(geometry.pairs.first), 2 * 12**2
    costs.dense_slot, costs.linear_edge, costs.linear_once = 1.0, slots / edges, 0.0
    costs.dense_row = 0.0
    assert near_path("auto", geometry) == "dense"
    costs.linear_edge *= 0.9
    assert near_path("auto", geometry) == "linear"
    costs.linear_once = 0.1 * slots + 0.5
    assert near_path("auto", geometry) == "dense"
    costs.linear_once = 0.0
    assert near_path("dense", geometry) == "dense"
    costs.stream_edges = edges
    assert near_path("linear", geometry) == "streamed"


def test_rows_of_padding_cost(costs):
    same, _ = make_geometry([molecule("C6H6"), molecule("C6H6")])
    different, _ = make_geometry([molecule("C6H6"), molecule("H2O")])  # 9 rows more
    costs.dense_slot, costs.linear_edge, costs.linear_once = 1.0, 0.0, 2 * 12**2
    costs.dense_row = 0.0
    assert near_path("auto", same) == near_path("auto", different) == "dense"
    costs.dense_row = 0.2
    assert near_path("auto", same) == "dense"
    assert near_path("auto", different) == "linear"


def test_slots_do_not_move_the_boundary(costs):
    geometry, _ = make_geometry([molecule("C6H6"), molecule("CH3CH2OH")])
    costs.dense_row = 0.0
    edge = 288 / (2 * len(geometry.pairs.first))
    costs.dense_slot, costs.linear_edge, costs.linear_once = 1.0, edge, 0.0
    assert near_path("auto", geometry) == "dense"
    assert near_path("auto", geometry.in_slots()) == "dense"
    costs.linear_edge *= 0.99
    assert near_path("auto", geometry.in_slots()) == "linear"


def test_both_sides_of_every_boundary_agree(structures, costs):
    encoder = FLTEncoder(
        width=8, num_layers=2, num_near_heads=2, num_far_heads=0, near_components=6
    ).double()
    geometry, pos = make_geometry(structures, cutoff=5.0)
    z = torch.tensor([n for atoms in structures for n in atoms.numbers])
    found = []
    for dense_slot, stream_edges in ((0.0001, 10**9), (1e12, 10**9), (1e12, 0)):
        costs.dense_slot, costs.stream_edges = dense_slot, stream_edges
        found.append(
            (
                near_path("auto", geometry),
                *encoder(z, pos, geometry.batch, geometry=geometry),
            )
        )
    assert [path for path, *_ in found] == ["dense", "linear", "streamed"]
    for _, x, vec in found[1:]:
        torch.testing.assert_close(x, found[0][1], rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(vec, found[0][2], rtol=1e-10, atol=1e-10)


@pytest.mark.filterwarnings("ignore:The density features were not fitted")
@pytest.mark.parametrize("options", [{}, {"density_elements": "HCO"}])
def test_rows_are_rounded_up_and_change_nothing(options, costs, monkeypatch):
    torch.manual_seed(0)
    encoder = FLTEncoder(
        width=8, num_layers=2, num_near_heads=2, num_far_heads=0, **options
    ).double()
    geometry, pos = make_geometry([molecule("CH3CH2OH"), molecule("H2O")], cutoff=5.0)
    z = torch.tensor([6, 6, 8, *[1] * 6, 8, 1, 1])
    seen = []
    encoder.layers[0].norm.register_forward_pre_hook(
        lambda module, inputs: seen.append(len(inputs[0]))
    )
    found = []
    for most in (0, 2048):
        monkeypatch.setattr(paths, "MOST_ROUNDED", most)
        pos = pos.detach().requires_grad_()
        x, vec = encoder(z, pos, geometry.batch, path="linear")
        (force,) = torch.autograd.grad((x.sum() + vec.square().sum()), pos)
        found.append((x, vec, force))
    assert seen == [12, 16]
    encoder(z[:9], pos[:9], path="linear")
    assert seen == [12, 16, 9]  # one graph as it is
    for before, after in zip(*found, strict=True):
        torch.testing.assert_close(after, before, rtol=1e-12, atol=1e-12)


def test_mixed_precision_is_not_streamed():
    values = torch.zeros(1, dtype=torch.float32)
    assert can_stream(values)
    assert not can_stream(values.bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not can_stream(values)
