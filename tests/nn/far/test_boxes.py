"""Boxes: lattice vectors where a graph is periodic, room enough where it is open."""

import itertools

import pytest
import torch

from molflt.nn.far.boxes import boxes, open_axes

REACH = 4.0
PATTERNS = [list(p) for p in itertools.product([False, True], repeat=3)]


@pytest.fixture
def cell():
    return torch.eye(3, dtype=torch.float64) * 5 + torch.randn(8, 3, 3).double() / 2


@pytest.fixture
def atoms():
    batch = torch.arange(8).repeat_interleave(torch.arange(1, 9))
    return torch.randn(len(batch), 3, dtype=torch.float64) * 3, batch


def test_periodic_rows_are_lattice_vectors_and_open_ones_orthogonal(atoms, cell):
    found = boxes(*atoms, cell, PATTERNS, REACH)
    for box, own, periodic in zip(found, cell, PATTERNS, strict=True):
        for k in range(3):
            if periodic[k]:
                torch.testing.assert_close(box[k], own[k], rtol=0, atol=0)
                continue
            others = torch.stack([box[j] for j in range(3) if j != k])
            lengths = others.norm(dim=1) * box[k].norm()
            assert ((others @ box[k]).abs() < 1e-12 * lengths).all()


def test_open_rows_are_as_long_as_the_atoms_and_the_reach(atoms, cell):
    pos, batch = atoms
    for graph, box in enumerate(boxes(pos, batch, cell, PATTERNS, REACH)):
        for k in range(3):
            if not PATTERNS[graph][k]:
                along = pos[batch == graph] @ (box[k] / box[k].norm())
                length = along.max() - along.min() + REACH
                torch.testing.assert_close(box[k].norm(), length)


def test_without_cells_boxes_stand_along_the_axes(atoms):
    pos, batch = atoms
    found = boxes(pos, batch, None, [[False] * 3] * 8, REACH)
    own = pos[batch == 5]
    expected = torch.diag(own.amax(0) - own.amin(0) + REACH)
    torch.testing.assert_close(found[5], expected)
    assert torch.equal(open_axes(None, [[False] * 3])[0], torch.eye(3).double())


def test_the_cell_is_differentiated_where_it_is_periodic(atoms, cell):
    cell.requires_grad_()
    boxes(*atoms, cell, PATTERNS, REACH).sum().backward()
    expected = torch.tensor(PATTERNS).unsqueeze(2).expand(-1, -1, 3).double()
    torch.testing.assert_close(cell.grad, expected, rtol=0, atol=0)
