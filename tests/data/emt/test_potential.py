import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, molecule
from ase.calculators.emt import EMT, parameters
from scipy.optimize import minimize_scalar

from molflt.data.emt.potential import PairEMT
from molflt.data.emt.systems import LATTICE


def slab():
    atoms = fcc111("Cu", (3, 3, 3), a=3.6, vacuum=8)
    atoms.symbols[::3] = "Pt"
    add_adsorbate(atoms, molecule("CH3OH"), 1.5, "ontop")
    add_adsorbate(atoms, molecule("N2"), 2.0, "fcc", offset=(1, 1))
    atoms.rattle(0.1, seed=1)
    return atoms


SYSTEMS = {
    "alloy with adsorbates": slab(),
    "bulk, an atom beside its own images": bulk("Au"),
    "molecule without periodicity": molecule("H2O"),
    "atom alone": Atoms("N"),
    "two molecules out of reach": Atoms("N2H", [[0, 0, 0], [1.1, 0, 0], [50, 0, 0]]),
    "all elements": Atoms(
        list(parameters), np.random.default_rng(0).uniform(0, 6, (11, 3))
    ),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_equals_ase(name):
    ours, theirs = SYSTEMS[name].copy(), SYSTEMS[name].copy()
    ours.calc, theirs.calc = PairEMT(), EMT()
    energy, forces = theirs.get_potential_energy(), theirs.get_forces()
    assert ours.get_potential_energy() == pytest.approx(energy, abs=1e-9, rel=1e-12)
    scale = max(1.0, np.abs(forces).max())
    assert np.abs(ours.get_forces() - forces).max() < 1e-9 * scale


def test_pair_list_follows_moving_atoms():
    atoms = slab()
    atoms.calc = PairEMT()
    rng = np.random.default_rng(0)
    for _ in range(12):  # 12 small steps leave the skin several times
        atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
        fresh = atoms.copy()
        fresh.calc = PairEMT()
        assert atoms.get_potential_energy() == pytest.approx(
            fresh.get_potential_energy(), abs=1e-9
        )


def test_forces_are_minus_the_gradient():
    atoms = slab()
    atoms.calc = PairEMT()
    forces = atoms.get_forces()

    def energy_at(atom, axis, shift):
        moved = atoms.copy()
        moved.positions[atom, axis] += shift
        moved.calc = PairEMT()
        return moved.get_potential_energy()

    for atom in (0, 13, 27, 30):
        for axis in range(3):
            rise = energy_at(atom, axis, 1e-5) - energy_at(atom, axis, -1e-5)
            assert forces[atom, axis] == pytest.approx(-rise / 2e-5, abs=1e-5)


def test_a_changed_cell_is_noticed():
    atoms = bulk("Cu", cubic=True)
    atoms.calc = PairEMT()
    atoms.get_potential_energy()
    atoms.set_cell(atoms.cell * 1.02)  # atoms stay where they are
    fresh = atoms.copy()
    fresh.calc = PairEMT()
    assert atoms.get_potential_energy() == pytest.approx(fresh.get_potential_energy())


def test_other_elements_are_named():
    atoms = Atoms("FeH", [[0, 0, 0], [0, 0, 1.5]])
    atoms.calc = PairEMT()
    with pytest.raises(NotImplementedError, match="Fe"):
        atoms.get_potential_energy()


@pytest.mark.parametrize("metal", LATTICE)
def test_lattice_constants_are_those_of_emt(metal):
    def energy(a):
        atoms = bulk(metal, "fcc", a=a)
        atoms.calc = EMT()
        return atoms.get_potential_energy()

    best = minimize_scalar(energy, bounds=(3.3, 4.4), method="bounded").x
    assert LATTICE[metal] == pytest.approx(best, abs=2e-3)
