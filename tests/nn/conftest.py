"""Small graphs for the tests of the mathematics: ragged, periodic and open, float64."""

import numpy as np
import pytest
import torch
from ase.build import add_adsorbate, bulk, fcc111, molecule

from molflt.graph.neighbors import neighbor_pairs
from molflt.nn import reference
from molflt.nn.geometry import Geometry


@pytest.fixture(autouse=True)
def float64():
    """Compare with slow twins where rounding cannot hide a mistake."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def open_structures():
    return [molecule("CH3CH2OH"), molecule("H2O"), molecule("H")]


def periodic_structures():
    slab = fcc111("Cu", (1, 2, 2), vacuum=4)
    add_adsorbate(slab, "O", 1.3, "fcc")
    crystal = bulk("NaCl", "rocksalt", 5.6)
    crystal.set_cell(
        crystal.cell @ np.array([[1, 0, 0], [0.2, 1, 0], [0, 0.1, 1]]), True
    )
    wire = molecule("H2O", vacuum=2.0)
    wire.pbc = (False, True, False)
    for atoms in (slab, crystal, wire):
        atoms.rattle(0.05, seed=3)
    return [slab, crystal, wire]


def make_geometry(structures, cutoff=4.0, pos=None):
    """Return (geometry, positions) of a batch of ASE structures."""
    if pos is None:
        pos = torch.tensor(np.concatenate([a.positions for a in structures]))
    sizes = torch.tensor([len(a) for a in structures])
    batch = torch.repeat_interleave(torch.arange(len(structures)), sizes)
    cell = torch.tensor(np.stack([a.cell.array for a in structures]))
    pbc = torch.tensor(np.stack([a.pbc for a in structures]))
    geometry = Geometry(pos, batch, len(structures), cell, pbc, pos.dtype)
    geometry.set_pairs(
        *neighbor_pairs(pos.detach(), batch, len(structures), cutoff, cell, pbc)
    )
    return geometry, pos


@pytest.fixture(params=["open", "periodic"])
def structures(request):
    return open_structures() if request.param == "open" else periodic_structures()


def assert_same_gradients(first, second, inputs, rtol=1e-9, atol=1e-11):
    """Compare gradients of a random projection of two tuples of outputs."""
    generator = torch.Generator().manual_seed(5)
    sums = []
    for outputs in (first, second):
        generator.manual_seed(5)
        sums.append(
            sum(
                (out * torch.randn(out.shape, generator=generator)).sum()
                for out in outputs
                if out is not None
            )
        )
    for one, two in zip(
        torch.autograd.grad(sums[0], inputs, retain_graph=True, allow_unused=True),
        torch.autograd.grad(sums[1], inputs, retain_graph=True, allow_unused=True),
        strict=True,
    ):
        if one is None and two is None:
            continue
        one = torch.zeros_like(two) if one is None else one
        two = torch.zeros_like(one) if two is None else two
        torch.testing.assert_close(one, two, rtol=rtol, atol=atol)


def per_graph(geometry, pos, structures, run):
    """Run a slow twin graph by graph and stack its rows."""
    rows = []
    for index, atoms in enumerate(structures):
        mine = geometry.batch == index
        cell = torch.tensor(atoms.cell.array)
        images = reference.lattice_images(cell, atoms.pbc.tolist(), 8.0)
        rows.append(run(mine, pos[mine], images))
    return [
        None if part[0] is None else torch.cat(part) for part in zip(*rows, strict=True)
    ]


def inputs_of(module, *tensors):
    return [t for t in tensors if t is not None] + list(module.parameters())


def unchanged(vec):
    """Return the linear map that changes nothing, for the vectors of near heads."""
    if vec is None:
        return None
    keep = torch.nn.Linear(vec.shape[2], vec.shape[2], bias=False, dtype=vec.dtype)
    torch.nn.init.eye_(keep.weight)
    return keep
