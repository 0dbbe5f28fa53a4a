"""The shipped force field obeys the laws through the calculator, as users meet it."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, make_supercell, molecule
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

import molflt

STEP = 1e-5  # Å


def gas() -> Atoms:
    atoms = molecule("CH4")
    atoms.rattle(0.05, seed=0)
    return atoms


def slab() -> Atoms:
    atoms = fcc111("Cu", (2, 2, 3), vacuum=6.0)
    add_adsorbate(atoms, molecule("CO"), 1.9, "ontop", mol_index=1)
    atoms.info = {}
    atoms.rattle(0.05, seed=0)
    return atoms


def crystal() -> Atoms:
    """An alloy in a cell without right angles; pairs of atoms with their own images."""
    atoms = bulk("Au", "fcc", 4.0) * (3, 1, 1)
    atoms.symbols[1] = "Cu"
    atoms.set_cell(
        atoms.cell @ np.array([[1, 0.05, 0], [0, 1.02, 0.1], [0, 0, 0.98]]),
        scale_atoms=True,
    )
    atoms.rattle(0.1, seed=3)
    return atoms


SYSTEMS = {"molecule": gas, "slab": slab, "crystal": crystal}
by_system = pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)


@pytest.fixture(scope="module")
def exact():
    return molflt.FLTCalculator("emt-forces", dtype=torch.float64)


@by_system
def test_forces_are_central_differences(exact, system):
    atoms = system()
    atoms.calc = exact
    forces = atoms.get_forces()
    assert np.abs(forces).max() > 0.1
    numerical = calculate_numerical_forces(atoms, eps=STEP)
    np.testing.assert_allclose(forces, numerical, rtol=0, atol=1e-7)


@pytest.mark.parametrize("system", [slab, crystal])
def test_stress_is_central_differences(exact, system):
    atoms = system()
    atoms.calc = exact
    stress = atoms.get_stress()
    assert np.abs(stress).max() > 1e-3
    numerical = calculate_numerical_stress(atoms, eps=STEP)
    np.testing.assert_allclose(stress, numerical, rtol=0, atol=1e-7)


@by_system
def test_single_precision_forces_are_close(exact, system):
    atoms = system()
    wide = exact.get_property("forces", atoms)
    narrow = molflt.FLTCalculator("emt-forces").get_property("forces", atoms)
    assert narrow.dtype == np.float64
    np.testing.assert_allclose(narrow, wide, rtol=0, atol=1e-4)


@pytest.mark.parametrize("system", [slab, crystal])
def test_wrapping_changes_nothing(exact, system):
    atoms = system()
    atoms.calc = exact
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    steps = np.random.default_rng(0).integers(-2, 3, (len(atoms), 3)) * atoms.pbc
    assert steps.any()
    atoms.positions += steps @ np.asarray(atoms.cell)
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-9)
    np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-9)


@pytest.mark.parametrize(
    ("system", "repeats"), [(slab, (2, 2, 1)), (crystal, (2, 2, 2))]
)
def test_supercells_count_atoms(exact, system, repeats):
    atoms = system()
    atoms.calc = exact
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    times = int(np.prod(repeats))
    larger = atoms * repeats
    larger.calc = exact
    assert larger.get_potential_energy() == pytest.approx(times * energy, abs=1e-8)
    np.testing.assert_allclose(
        larger.get_forces(), np.tile(forces, (times, 1)), atol=1e-8
    )


def test_another_cell_of_the_same_crystal(exact):
    atoms = crystal()
    atoms.calc = exact
    energy, stress = atoms.get_potential_energy(), atoms.get_stress()
    other = make_supercell(atoms, [[1, 0, 0], [1, 1, 0], [0, -1, 1]], wrap=False)
    other.calc = exact
    assert other.get_potential_energy() == pytest.approx(energy, abs=1e-9)
    np.testing.assert_allclose(other.get_stress(), stress, atol=1e-9)


@by_system
def test_turning_turns_the_forces(exact, system):
    atoms = system()
    energy = exact.get_property("energy", atoms)
    forces = exact.get_property("forces", atoms)
    turned = atoms.copy()
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    again = turned.copy()
    again.set_positions(forces)
    again.rotate(40, (1, 2, 3))
    assert exact.get_property("energy", turned) == pytest.approx(energy, abs=1e-9)
    found = exact.get_property("forces", turned)
    np.testing.assert_allclose(found, again.positions, atol=1e-9)
