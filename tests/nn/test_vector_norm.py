"""The norm of vectors against the formula, to second order."""

import pytest
import torch

from molflt.nn.vector_norm import vector_norm


def slow(values):
    square = values.square().sum(dim=1, keepdim=True).mean(dim=2, keepdim=True)
    return values / (square + 1).sqrt()


@pytest.fixture
def values():
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([0.0, 1e-3, 1.0, 1e2]).view(-1, 1, 1)
    rows = torch.randn(4, 3, 5, generator=generator) * scale
    return rows.double().requires_grad_()


def test_equals_the_formula_to_second_order(values):
    grad = torch.arange(60.0, dtype=torch.float64).view(4, 3, 5).sin()
    found = []
    for norm in (slow, vector_norm):
        out = norm(values)
        (first,) = torch.autograd.grad(out, values, grad, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), values)
        found.append((out, first, second))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_gradients_of_both_orders(values):
    assert torch.autograd.gradcheck(vector_norm, values)
    assert torch.autograd.gradgradcheck(vector_norm, values)


def test_first_gradients_are_the_same_with_and_without_a_graph(values):
    plain, kept = (
        torch.autograd.grad(vector_norm(values).sum(), values, create_graph=graph)[0]
        for graph in (False, True)
    )
    torch.testing.assert_close(plain, kept, rtol=1e-14, atol=1e-14)
