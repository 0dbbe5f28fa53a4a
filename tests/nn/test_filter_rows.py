"""Sums with harmonics along rows: compiled loops, torch and a loop over pairs agree."""

import pytest
import torch

from molflt.nn import filter_rows, rows
from molflt.nn.angular import COMPONENTS, directions
from molflt.nn.cutoff import PolynomialCutoff
from molflt.nn.filter_rows import angular_sums, filter_kernels, filter_sums
from molflt.nn.rows import Edges
from molflt.nn.shells import RadialShells
from molflt.nn.table import evaluate

from .conftest import assert_same_gradients, make_geometry

CHANNELS = 4
ORDERS = [0, 1, 2, 3]


@pytest.fixture
def order():
    return 3


@pytest.fixture
def edges(structures, order):
    geometry, _ = make_geometry(structures, cutoff=3.0)
    torch.manual_seed(0)
    shells = RadialShells(5, 1.0, 0.02)
    weights = torch.randn((order + 1) * CHANNELS, 5)
    pairs = geometry.pairs
    found = pairs.edges(len(geometry.batch), shells, PolynomialCutoff(3.0), weights)
    leaves = (t.detach().requires_grad_() for t in (found.delta, found.table))
    return Edges(found.rows, *leaves, found.cutoff)


@pytest.fixture
def values(edges):
    return torch.randn(len(edges.rows.start) - 1, CHANNELS, requires_grad=True)


@pytest.fixture(params=["compiled", "torch"])
def form(request, monkeypatch):
    if request.param == "torch":
        monkeypatch.setattr(filter_rows, "filter_kernels", lambda *_, **__: None)
        monkeypatch.setattr(rows, "TORCH_EDGES", 5)  # several blocks
    elif filter_kernels(torch.zeros(1), CHANNELS) is None:
        pytest.skip("no compiler")


def slow(values, edges, order):
    """Sum pair by pair, by operations that torch differentiates."""
    sums = []
    for atom in range(len(values)):
        part = edges.part(atom, atom + 1)
        delta = part.sign.unsqueeze(1) * edges.delta[part.pair]
        r = torch.linalg.vector_norm(delta, dim=1)
        radial = evaluate(edges.table, edges.cutoff, r)
        radial = radial.view(len(r), order + 1, CHANNELS)
        sums.append(
            torch.cat(
                [
                    turned @ (radial[:, i] * values[part.sender])
                    for i, turned in enumerate(directions(delta, r, order))
                ]
            )
        )
    return torch.stack(sums)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("order", ORDERS)
def test_values_and_gradients(order, edges, values):
    fast, twin = angular_sums(values, edges, order), slow(values, edges, order)
    assert fast.shape == (len(values), sum(COMPONENTS[: order + 1]), CHANNELS)
    torch.testing.assert_close(fast, twin, rtol=1e-12, atol=1e-13)
    leaves = [values, edges.delta, edges.table]
    assert_same_gradients((fast,), (twin,), leaves)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("order", ORDERS)
def test_second_derivatives(order, edges, values):
    """What training on forces needs: gradients of gradients, by every input."""
    leaves = [values, edges.delta, edges.table]
    slopes = []
    for run in (angular_sums, slow):
        out = run(values, edges, order)
        seen = torch.sin(out).sum()  # its gradient depends on the sums as well
        slopes.append(torch.autograd.grad(seen, leaves, create_graph=True))
    assert_same_gradients(*slopes, leaves, rtol=1e-8, atol=1e-9)


def test_filter_sums_are_of_order_zero(edges, values):
    first = Edges(
        edges.rows, edges.delta, edges.table[..., :CHANNELS].contiguous(), edges.cutoff
    )
    found = filter_sums(values, first)
    torch.testing.assert_close(found, angular_sums(values, edges, 3)[:, 0])


def test_float32_agrees_with_float64(edges, values):
    wide = angular_sums(values, edges, 3)
    narrow = Edges(edges.rows, edges.delta.float(), edges.table.float(), edges.cutoff)
    found = angular_sums(values.float(), narrow, 3)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), wide, rtol=1e-4, atol=1e-4)
