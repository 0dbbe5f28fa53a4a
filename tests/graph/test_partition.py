import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from molflt.data.molecule import atoms_to_graph
from molflt.errors import InputError
from molflt.graph.neighbors import neighbor_pairs
from molflt.graph.partition import WrappedSystem

CUTOFF = 4.0
PATTERNS = [(False,) * 3, (True,) * 3, (True, True, False), (False, False, True)]


def skew(pbc, repeat=(5, 4, 3)):
    atoms = bulk("Cu", "fcc", 3.8) * repeat
    atoms.rattle(0.3, seed=1)
    atoms.positions += np.random.default_rng(0).integers(-2, 3, (len(atoms), 3)) @ (
        atoms.cell.array * np.array(pbc)[:, None]
    )
    atoms.pbc = pbc
    return atoms_to_graph(atoms)


def layout(graph):
    return WrappedSystem(graph.pos, graph.cell, graph.pbc, CUTOFF)


def named(pairs):
    """Pairs as a set that does not depend on the direction they are held in."""
    rows = torch.cat([torch.stack(pairs[:2], 1), pairs.shift], dim=1).tolist()
    return sorted(min((i, j, a, b, c), (j, i, -a, -b, -c)) for i, j, a, b, c in rows)


@pytest.mark.parametrize("pbc", PATTERNS)
@pytest.mark.parametrize("parts", [1, 2, 3, 7, 100])
def test_parts_are_equal_and_have_all_of_their_pairs(pbc, parts):
    graph = skew(pbc)
    batch = torch.zeros_like(graph.z)
    whole = neighbor_pairs(graph.pos, batch, 1, CUTOFF, graph.cell, graph.pbc)
    cut = layout(graph)
    owner = cut.bisected(parts)
    counts = owner.bincount(minlength=parts)
    assert len(counts) == parts
    assert counts.max() - counts.min() <= 1
    for part in range(0, parts, max(1, parts // 4)):
        mine = owner == part
        kept = mine[whole.first] | mine[whole.second]
        expected = type(whole)(*(field[kept] for field in whole))
        assert named(cut.pairs_of(mine)) == named(expected)


@pytest.mark.parametrize("pbc", PATTERNS)
def test_parts_are_compact(pbc):
    """A long bar is cut across its length, wherever its atoms are said to be."""
    graph = skew(pbc, (40, 2, 2))
    places = layout(graph).places.numpy()
    along = places[:, np.ptp(places, axis=0).argmax()]
    owner = layout(graph).bisected(4).numpy()
    lengths = [np.ptp(along[owner == part]) for part in range(4)]
    assert max(lengths) < 0.3 * np.ptp(along)


def test_a_part_far_away_looks_at_its_surroundings_alone():
    chain = Atoms("H200", [[3.0 * i, 0, 0] for i in range(200)])
    cut = layout(atoms_to_graph(chain))
    near = cut._near(cut.bisected(4) == 0)
    assert near.sum() == 51


def test_a_lattice_vector_that_is_no_vector_is_refused():
    graph = skew((True, True, True))
    graph.cell[0, 1] = 0
    with pytest.raises(InputError, match="lattice vector"):
        layout(graph)
