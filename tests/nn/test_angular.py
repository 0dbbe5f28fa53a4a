"""Directions turn as tensors of their order do, and are smooth where two atoms meet."""

import math

import pytest
import torch
from scipy.special import eval_legendre
from scipy.stats import ortho_group

from molflt.nn.angular import BASIS, COMPONENTS, PARITY, directions, matrices


def of(delta, order=3):
    return directions(delta, torch.linalg.vector_norm(delta, dim=1), order)


def as_matrices(delta):
    return matrices(of(delta)[2].T.unsqueeze(2)).squeeze(3)  # (p, 3, 3)


def test_basis_is_orthonormal_symmetric_and_traceless():
    basis = torch.tensor(BASIS)
    flat = basis.flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(5))
    torch.testing.assert_close(basis, basis.mT)
    torch.testing.assert_close(basis.diagonal(dim1=1, dim2=2).sum(1), torch.zeros(5))


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_numbers_of_components(order):
    found = of(torch.randn(7, 3), order)
    assert [part.shape for part in found] == [(m, 7) for m in COMPONENTS[: order + 1]]


def test_matrix_is_the_traceless_part_of_the_outer_product():
    delta = torch.randn(7, 3)
    e = delta / (delta.square().sum(1, keepdim=True) + 1).sqrt()
    trace = e.square().sum(1)[:, None, None] / 3 * torch.eye(3)
    torch.testing.assert_close(as_matrices(delta), e[:, :, None] * e[:, None] - trace)


def test_turning_and_mirroring():
    delta = torch.randn(9, 3)
    for seed in range(4):  # with and without reflection
        turn = torch.from_numpy(ortho_group.rvs(3, random_state=seed))
        torch.testing.assert_close(of(delta @ turn.T)[1], turn @ of(delta)[1])
        turned = turn @ as_matrices(delta) @ turn.T
        torch.testing.assert_close(as_matrices(delta @ turn.T), turned)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_contractions_are_polynomials_of_the_cosine(order):
    """Products of all parts of an order are a Legendre polynomial times a factor."""
    one, two = torch.randn(2, 50, 3)
    e1, e2 = (d / (d.square().sum(1, keepdim=True) + 1).sqrt() for d in (one, two))
    lengths = e1.norm(dim=1) * e2.norm(dim=1)
    cosine = ((e1 * e2).sum(1) / lengths).numpy()
    # l! / (2l - 1)!!: what is left of |e|^2l when the traces are gone.
    factor = math.factorial(order) / math.prod(range(1, 2 * order, 2))
    expected = lengths**order * factor * torch.from_numpy(eval_legendre(order, cosine))
    found = (of(one)[order] * of(two)[order]).sum(0)
    torch.testing.assert_close(found, expected)


def test_parity():
    delta = torch.randn(5, 3)
    for there, back, sign in zip(of(delta), of(-delta), PARITY, strict=True):
        torch.testing.assert_close(back, sign * there)


def test_derivatives_are_finite_where_two_atoms_meet():
    delta = torch.zeros(1, 3, requires_grad=True)
    r = delta.square().sum(1)  # r^2 is smooth; r itself enters squared
    for part in directions(delta, r, 3)[1:]:
        assert not part.any()
        (slope,) = torch.autograd.grad(part.sum(), delta, retain_graph=True)
        assert slope.isfinite().all()
