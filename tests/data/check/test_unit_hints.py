"""What looks like another unit, and what only seems to."""

import pytest
from ase.build import bulk, molecule
from ase.units import Bohr

from molflt.data.check.unit_hints import length_hint
from molflt.data.molecule import atoms_to_graph


def hint_of(*structures, scale=1.0):
    for atoms in structures:
        atoms.positions *= scale
    return length_hint([atoms_to_graph(atoms, tags="none") for atoms in structures])


@pytest.mark.parametrize(
    "make",
    [
        lambda: molecule("C6H6"),
        lambda: molecule("NaCl"),
        lambda: bulk("Cu", cubic=True).repeat(2),
        lambda: bulk("Na", cubic=True).repeat(2),
        lambda: bulk("CsCl", "cesiumchloride", 4.12).repeat(2),
    ],
)
def test_lengths_are_told_apart(make):
    assert hint_of(make()) is None
    assert "bohr" in hint_of(make(), scale=1 / Bohr)
    assert "nm" in hint_of(make(), scale=0.1)


def test_noble_gases_have_no_bonds():
    solid = bulk("Ar", "fcc", 5.26, cubic=True).repeat(2)
    assert hint_of(solid) is None
    mixed = molecule("C6H6")
    solid.translate([30.0, 0.0, 0.0])
    assert hint_of(mixed + solid) is None
    assert "bohr" in hint_of(molecule("C6H6") + solid, scale=1 / Bohr)
