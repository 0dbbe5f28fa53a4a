"""Single energies that no sum over elements explains."""

import ase.io
import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

from molflt.data.check.energy_outliers import EnergyOutliers
from molflt.data.check.examine import examine

NAMES = ("CH4", "NH3", "H2O", "C2H2", "CH3CH2OH", "C6H6")
PER_ATOM = {1: -13.6, 6: -1030.0, 7: -1480.0, 8: -2040.0}


def energies(number=60):
    rng = np.random.default_rng(0)
    for index in range(number):
        z = molecule(NAMES[index % len(NAMES)]).numbers
        yield z, sum(PER_ATOM[n] for n in z.tolist()) + 0.3 * rng.normal()


def collected(wrong):
    found = EnergyOutliers()
    for index, (z, energy) in enumerate(energies()):
        found.add(index, torch.as_tensor(z), energy + wrong.get(index, 0.0))
    return found


def test_a_spread_of_energies_raises_no_suspicion():
    assert collected({}).hint() is None
    assert EnergyOutliers().hint() is None


@pytest.mark.parametrize("size", [-40.0, 40.0, 1e6])
def test_the_worst_record_is_named(size):
    hint = collected({17: size, 30: size / 2}).hint()
    assert hint.startswith("2 energies lie far")
    assert "record 17, " in hint
    (number,) = (word for word in hint.split() if word.startswith(("+", "-")))
    assert float(number) == pytest.approx(size, abs=2.0)


def test_an_outlier_that_has_a_composition_of_its_own_is_seen():
    found = collected({})
    z = torch.as_tensor(molecule("CH3OH").numbers)
    exact = sum(PER_ATOM[n] for n in z.tolist())
    found.add(99, z, exact + 0.3)
    assert found.hint() is None
    found.add(100, torch.cat([z, z]), 2 * exact + 55.0)
    assert "record 100, +5" in found.hint()


def test_another_kind_of_structures_is_no_mistake():
    assert collected(dict.fromkeys(range(0, 60, 4), 50.0)).hint() is None


def test_few_structures_of_many_elements_raise_no_suspicion():
    """The fit passes through most of them, and misses the others by what it likes."""
    found, rng = EnergyOutliers(), np.random.default_rng(0)
    for index in range(40):
        z = torch.as_tensor(rng.integers(1, 30, size=6))
        found.add(index, z, rng.normal())
    assert found.hint() is None


def test_check_reports_it(tmp_path):
    frames = []
    for index in range(30):
        atoms = molecule("H2O")
        atoms.rattle(0.01, seed=index)
        energy = -14.2 + 0.01 * index + 100.0 * (index == 11)
        atoms.calc = SinglePointCalculator(atoms, energy=energy)
        frames.append(atoms)
    ase.io.write(tmp_path / "a.traj", frames)
    (warning,) = examine(tmp_path / "a.traj").warnings
    assert "record 11, +" in warning
