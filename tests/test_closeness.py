import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.collections import g2

from molflt import closeness
from molflt.closeness import has_close_atoms


def close(atoms):
    return has_close_atoms(
        atoms.numbers, atoms.positions, np.array(atoms.cell), atoms.pbc
    )


def test_molecules_and_crystals_have_none():
    assert len([name for name in g2.names if not close(molecule(name))]) == len(
        g2.names
    )
    for name in ("Li", "C", "Si", "Fe", "Cu", "Cs", "W", "Pb"):
        assert not close(bulk(name))


@pytest.mark.parametrize("few", [0, 4096])
@pytest.mark.parametrize("pbc", [False, True])
def test_atoms_in_each_other_are_seen(pbc, few, monkeypatch):
    monkeypatch.setattr(closeness, "FEW", few)
    pair = Atoms("Cu2", [[0, 0, 0.1], [0, 0, 4.0]], cell=[9, 9, 9], pbc=pbc)
    assert not close(pair)
    pair.positions[1, 2] = 1.1
    assert close(pair)
    pair.positions[1, 2] = 8.6  # 0.5 Å through the face of the cell
    assert close(pair) == pbc


def test_an_atom_and_its_image_are_seen():
    assert close(bulk("Cu", "sc", a=1.0))
    assert not close(bulk("Cu", "sc", a=2.4))
    assert not close(Atoms())
