"""Neighbour pairs against ASE's."""

import numpy as np
import pytest
import torch
from ase.build import bulk, fcc111, molecule
from ase.neighborlist import neighbor_list

from molflt.errors import InputError
from molflt.graph.neighbors import neighbor_pairs
from molflt.nn.geometry import Geometry


def structures():
    slab = fcc111("Cu", (1, 1, 3), vacuum=4)
    crystal = bulk("NaCl", "rocksalt", 5.6)
    large = molecule("C60") * (1, 1, 1)
    far = molecule("H2O")
    far.positions += 500.0
    layer = fcc111("Au", (2, 2, 1))  # no lattice vector along the open direction
    for atoms in (slab, crystal, large):
        atoms.rattle(0.1, seed=1)
    return [slab, crystal, large, far, layer]


def pairs_of(batch, cutoff):
    pos = torch.tensor(np.concatenate([a.positions for a in batch]))
    sizes = torch.tensor([len(a) for a in batch])
    index = torch.repeat_interleave(torch.arange(len(batch)), sizes)
    cell = torch.tensor(np.stack([a.cell.array for a in batch]))
    pbc = torch.tensor(np.stack([a.pbc for a in batch]))
    return pos, cell, index, neighbor_pairs(pos, index, len(batch), cutoff, cell, pbc)


def table(i, j, distance):
    return sorted(zip(i, j, np.round(distance, 9), strict=True))


@pytest.mark.parametrize(
    "batch", [structures(), structures()[2:4]], ids=["list", "dense"]
)
@pytest.mark.parametrize("cutoff", [2.6, 5.0])
def test_pairs_equal_those_of_ase(batch, cutoff):
    pos, cell, index, (first, second, shift) = pairs_of(batch, cutoff)
    lattice = torch.einsum("pi,pix->px", shift.double(), cell[index[first]])
    distance = (pos[first] - pos[second] - lattice).norm(dim=1).numpy()
    both = table(
        np.concatenate([first, second]),
        np.concatenate([second, first]),
        np.concatenate([distance, distance]),
    )
    expected, start = [], 0
    for atoms in batch:
        i, j, d = neighbor_list("ijd", atoms, cutoff)
        expected += table(i + start, j + start, d)
        start += len(atoms)
    assert both == sorted(expected)


def test_dense_and_listed_pairs_agree(monkeypatch):
    batch = [molecule("CH3CH2OH"), molecule("C6H6")]
    dense = pairs_of(batch, 3.0)[3]
    monkeypatch.setattr("molflt.graph.neighbors.DENSE_LIMIT", 0)
    listed = pairs_of(batch, 3.0)[3]

    def as_set(pairs):
        return {
            frozenset(p)
            for p in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)
        }

    assert as_set(dense) == as_set(listed)
    assert len(dense.first) == len(listed.first)


def test_cutoff_must_be_positive():
    with pytest.raises(ValueError, match="cutoff"):
        pairs_of([molecule("H2")], 0.0)


def test_periodic_without_a_cell_is_refused():
    with pytest.raises(ValueError, match="cell"):
        neighbor_pairs(
            torch.zeros(1, 3),
            torch.zeros(1).long(),
            1,
            3.0,
            pbc=torch.ones(1, 3).bool(),
        )


@pytest.mark.parametrize("length", [0.0, 1e5, float("nan")])
def test_absurd_lattice_vectors_are_refused(length):
    cell = torch.diag(torch.tensor([length, 4.0, 4.0], dtype=torch.float64))[None]
    pbc = torch.tensor([[True, True, False]])
    with pytest.raises(InputError, match="lattice vector"):
        neighbor_pairs(
            torch.zeros(1, 3).double(), torch.zeros(1).long(), 1, 3.0, cell, pbc
        )


def test_a_huge_vector_of_an_open_direction_does_no_harm():
    cell = torch.diag(torch.tensor([4.0, 4.0, 1e7], dtype=torch.float64))[None]
    pbc = torch.tensor([[True, True, False]])
    pairs = neighbor_pairs(
        torch.zeros(1, 3).double(), torch.zeros(1).long(), 1, 4.5, cell, pbc
    )
    assert len(pairs.first) == 2  # the images along the two periodic directions


def test_an_atom_that_has_flown_off_a_slab_is_refused():
    """A cell list as long as the way would take minutes; periodic ways are wrapped."""
    slab = fcc111("Cu", (2, 2, 2), vacuum=6.0)
    expected = len(pairs_of([slab], 5.0)[3][0])
    across, along = slab.copy(), slab.copy()
    across.positions[0, 2] += 1e5
    with pytest.raises(InputError, match="apart along an open direction"):
        pairs_of([across], 5.0)
    along.positions[0] += 1e4 * along.cell[0]
    assert len(pairs_of([along], 5.0)[3][0]) == expected
    molecules = molecule("H2O")
    molecules.positions[0] += 1e5
    assert len(pairs_of([molecules, slab], 5.0)[3][0]) == expected + 1


@pytest.mark.parametrize("number", [30, 200])
@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("place", [np.nan, np.inf, -1e12])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_places_that_nothing_can_be_near_are_refused(number, periodic, place, axes):
    pos = 12 * torch.rand(number, 3, dtype=torch.float64)
    pos[-1, :axes] = place
    one = torch.zeros(number, dtype=torch.int64)
    cell = 12 * torch.eye(3, dtype=torch.float64)[None] if periodic else None
    pbc = torch.tensor([[True, True, False]]) if periodic else None
    with pytest.raises(InputError, match="Positions must be finite, and less than"):
        neighbor_pairs(pos, one, 1, 5.0, cell, pbc)
    with pytest.raises(InputError, match="Positions must be finite, and less than"):
        Geometry.of(pos, one, 1, cutoff=5.0, cell=cell, pbc=pbc)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_what_is_not_refused_is_found(axes):
    """Also where one graph is far from the origin, and one atom from the others."""
    pos = 12 * torch.rand(200, 3, dtype=torch.float64)
    expected = neighbor_pairs(pos, torch.zeros(200, dtype=torch.int64), 1, 5.0)
    far = torch.cat([pos + 1e9, pos, pos[:1]])
    far[-1, :axes] = 5e5
    index = torch.cat([torch.zeros(200), torch.ones(201)]).long()
    found = neighbor_pairs(far, index, 2, 5.0)
    assert len(found.first) == 2 * len(expected.first)


@pytest.mark.parametrize("cutoff", [np.nan, np.inf, 0.0, -1.0])
def test_a_cutoff_is_a_positive_number(cutoff):
    pos, one = torch.rand(4, 3), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(ValueError, match="cutoff must be larger than 0, and finite"):
        Geometry.of(pos, one, 1, cutoff=cutoff)


def test_a_geometry_refuses_places_that_mean_nothing():
    pos, two = torch.rand(4, 3), torch.tensor([0, 0, 1, 1])
    with pytest.raises(InputError, match="numbered from 0 to 0"):
        Geometry.of(pos, two, 1, cutoff=5.0)
    with pytest.raises(InputError, match="without gaps"):
        Geometry.of(pos, 1 + two, cutoff=5.0)
