"""Structures of several kinds, and their forces by a calculator."""

import pytest
from ase import Atoms
from ase.build import add_adsorbate, fcc111, molecule

import molflt
from tests.builders import oblique_copper

NEAR = {"num_far_heads": 0}


def slab() -> Atoms:
    atoms = fcc111("Cu", (2, 2, 2), vacuum=6.0)
    add_adsorbate(atoms, "O", 1.3, "fcc")
    atoms.rattle(0.05, seed=0)
    return atoms


def water() -> Atoms:
    return molecule("H2O")


SYSTEMS = {"molecule": water, "slab": slab, "crystal": oblique_copper}
by_system = pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)


def forces_of(atoms, *arguments, **options):
    atoms = atoms.copy()
    atoms.calc = molflt.FLTCalculator(*arguments, **options)
    return atoms.get_forces()
