"""Filtered sums along rows: compiled loops, torch and a loop over pairs agree."""

import pytest
import torch

from molflt.nn.cutoff import PolynomialCutoff
from molflt.nn.edges import filters, rows
from molflt.nn.edges.filters import filter_kernels, filter_sums
from molflt.nn.edges.rows import Edges
from molflt.nn.edges.table import evaluate
from molflt.nn.spectra.shells import RadialShells
from tests.nn.conftest import assert_same_gradients, make_geometry

CHANNELS = 4


@pytest.fixture
def edges(structures):
    geometry, _ = make_geometry(structures, cutoff=3.0)
    torch.manual_seed(0)
    shells = RadialShells(5, 1.0, 0.02)
    weights = torch.randn(CHANNELS, 5)
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
        monkeypatch.setattr(filters, "filter_kernels", lambda *_, **__: None)
        monkeypatch.setattr(rows, "TORCH_EDGES", 5)  # several blocks
    elif filter_kernels(torch.zeros(1), CHANNELS) is None:
        pytest.skip("no compiler")


def slow(values, edges):
    """Sum pair by pair, by operations that torch differentiates."""
    sums = []
    for atom in range(len(values)):
        part = edges.rows.part(atom, atom + 1)
        r = torch.linalg.vector_norm(edges.delta[part.pair], dim=1)
        radial = evaluate(edges.table, edges.cutoff, r)
        sums.append((radial * values[part.sender]).sum(0))
    return torch.stack(sums)


@pytest.mark.usefixtures("form")
def test_values_and_gradients(edges, values):
    fast, twin = filter_sums(values, edges), slow(values, edges)
    torch.testing.assert_close(fast, twin, rtol=1e-12, atol=1e-13)
    leaves = [values, edges.delta, edges.table]
    assert_same_gradients((fast,), (twin,), leaves)


@pytest.mark.usefixtures("form")
def test_second_derivatives(edges, values):
    """What training on forces needs: gradients of gradients, by every input."""
    leaves = [values, edges.delta, edges.table]
    slopes = []
    for run in (filter_sums, slow):
        seen = torch.sin(run(values, edges)).sum()  # its gradient sees the sums too
        slopes.append(torch.autograd.grad(seen, leaves, create_graph=True))
    assert_same_gradients(*slopes, leaves, rtol=1e-8, atol=1e-9)


def test_float32_agrees_with_float64(edges, values):
    wide = filter_sums(values, edges)
    narrow = Edges(edges.rows, edges.delta.float(), edges.table.float(), edges.cutoff)
    found = filter_sums(values.float(), narrow)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), wide, rtol=1e-4, atol=1e-4)


def test_a_cutoff_may_be_an_integer(edges, values):
    whole = Edges(edges.rows, edges.delta, edges.table, int(edges.cutoff))
    assert whole.cutoff == edges.cutoff
    assert torch.equal(filter_sums(values, whole), filter_sums(values, edges))
