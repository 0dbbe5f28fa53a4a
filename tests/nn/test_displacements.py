"""Displacements of pairs: the plain formula, in any number of blocks."""

import numpy as np
import torch

from molflt.nn import displacements as module
from molflt.nn.displacements import PairIndex, displacements

from .conftest import make_geometry, periodic_structures


def test_blocks_equal_the_formula_in_every_derivative(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 7)
    structures = periodic_structures()
    for some in (structures, structures[:1]):
        geometry, pos = make_geometry(some)
        cell = torch.tensor(np.stack([a.cell.array for a in some]))
        generator = torch.Generator().manual_seed(1)
        first, second = torch.randint(len(pos), (2, 30), generator=generator)
        second = torch.where(
            geometry.batch[first] == geometry.batch[second], second, first
        )
        shift = torch.randint(-1, 2, (30, 3), generator=generator, dtype=torch.int32)
        index = PairIndex(first, second, shift, geometry.batch)

        def run(pos, cell, index=index):
            return displacements(pos, cell, index, torch.float64)

        lattice = cell[geometry.batch[first]]
        plain = pos[first] - pos[second]
        plain = plain - torch.einsum("pi,pix->px", shift.double(), lattice)
        torch.testing.assert_close(run(pos, cell), plain, rtol=0, atol=1e-12)
        inputs = (pos.clone().requires_grad_(True), cell.requires_grad_(True))
        assert torch.autograd.gradcheck(run, inputs)
        assert torch.autograd.gradgradcheck(run, inputs)


def test_no_pairs_make_no_displacements():
    none = torch.zeros(0, dtype=torch.int64)
    index = PairIndex(none, none, None, torch.zeros(2, dtype=torch.int64))
    pos = torch.zeros(2, 3, requires_grad=True)
    out = displacements(pos, None, index, torch.float32)
    assert out.shape == (0, 3)
    assert out.dtype == torch.float32
    out.sum().backward()
    assert not pos.grad.any()
