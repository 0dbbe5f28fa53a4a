"""Stress of independent crystals in another unit or of another sign, by EMT."""

import ase.io
import numpy as np
import pytest
import torch
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.units import GPa

from molflt.cli import main
from molflt.data.check.crystal_pairs import CrystalPairs
from molflt.data.check.stress_values import stress_value_hint
from molflt.data.molecule import atoms_to_graph

SIGN = "ASE's is positive under tension"


def crystals(
    symbol="Cu", number=24, swell=0.03, rattle=0.05, squeeze=0.0, other=None, seed=0
):
    """Return crystals of one composition, strained and shaken one by one."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(number):
        atoms = bulk(symbol, cubic=True) * (2, 1, 1)
        if other:
            atoms.symbols[rng.permutation(8)[:4]] = other
        change = np.eye(3) * (1 - squeeze + swell * rng.normal())
        change += 0.4 * swell * rng.normal(size=(3, 3))
        atoms.set_cell(atoms.cell @ change, scale_atoms=True)
        atoms.positions += rattle * rng.normal(size=atoms.positions.shape)
        atoms.calc = EMT()
        found.append(atoms)
    return found


def relaxed_under_pressure():
    """Alloys whose volumes differ, and whose stress does not."""
    return [a for a in crystals(other="Au") if abs(a.get_stress()[:3].mean()) < 0.006]


def slabs():
    """Periodic in three directions, with a vacuum of any width."""
    found = []
    for index in range(20):
        atoms = fcc111("Cu", (1, 1, 3), vacuum=4 + 0.2 * index)
        atoms.info, atoms.pbc = {}, True
        atoms.calc = EMT()
        found.append(atoms)
    return found


def several(number=3):
    symbols = ["Cu", "Ag", "Au", "Ni", "Pd", "Pt", "Al"]
    return [a for i, s in enumerate(symbols) for a in crystals(s, number, seed=i)]


SETS = {
    "strained": crystals,
    "rattled": lambda: crystals(swell=0.0, rattle=0.15),
    "violently": lambda: crystals(rattle=0.25),
    "alloy": lambda: crystals(other="Au", squeeze=-0.04),
    "50 GPa": lambda: crystals(squeeze=0.08),
    "one pressure": relaxed_under_pressure,
    "slabs": slabs,
    "several": several,
}
FACTORS = {
    "GPa,": lambda stress, volume: stress / GPa,
    "kbar,": lambda stress, volume: 10 * stress / GPa,
    "kbar with the sign of a pressure,": lambda stress, volume: -10 * stress / GPa,
    "a virial in eV (stress = -virial / volume: --virial-key),": (
        lambda stress, volume: -stress * volume
    ),
}


def graphs(frames, change=lambda stress, volume: stress, energy=True):
    return [
        atoms_to_graph(
            atoms,
            targets={"energy": atoms.get_potential_energy()} if energy else {},
            stress=change(atoms.get_stress(voigt=False), atoms.get_volume())[None],
        )
        for atoms in frames
    ]


@pytest.mark.parametrize("make", SETS.values(), ids=SETS)
def test_stress_in_its_unit_raises_no_suspicion(make):
    found = graphs(make())
    assert len(found) >= 10 or make is relaxed_under_pressure
    assert stress_value_hint(found) is None


@pytest.mark.parametrize(
    "name", ["strained", "violently", "alloy", "50 GPa", "several"]
)
def test_a_wrong_sign_is_told(name):
    found = graphs(SETS[name](), lambda stress, volume: -stress)
    assert SIGN in stress_value_hint(found)


@pytest.mark.parametrize("name", ["rattled", "one pressure", "slabs"])
def test_without_a_trend_nothing_is_said_of_the_sign(name):
    assert (
        stress_value_hint(graphs(SETS[name](), lambda stress, volume: -stress)) is None
    )


@pytest.mark.parametrize("words", FACTORS)
@pytest.mark.parametrize("name", ["strained", "alloy", "50 GPa", "several"])
def test_units_are_told_by_the_energies(name, words):
    found = stress_value_hint(graphs(SETS[name](), FACTORS[words]))
    assert f" GPa: it looks like {words} eV/Å^3 is expected" in found
    assert SIGN not in found


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("GPa,", "GPa, or a virial"),
        ("kbar,", "kbar"),
        ("kbar with the sign of a pressure,", "a virial in eV"),
        ("a virial in eV (stress = -virial / volume: --virial-key),", "a virial in eV"),
    ],
)
def test_units_are_guessed_without_energies(words, told):
    found = stress_value_hint(graphs(crystals(), FACTORS[words], energy=False))
    assert f"it looks like {told}" in found
    size = float(found.split("typically ")[1].split(",")[0])
    assert f"which would be {size / GPa:,.0f}"[:16] in found


def test_energies_of_other_structures_say_nothing_of_the_unit():
    rng = np.random.default_rng(0)
    frames = crystals()
    found = graphs(frames, FACTORS["GPa,"])
    for graph in found:  # as those of polymorphs, which differ by more than strains
        graph.energy += rng.normal(scale=4.0)
    assert "looks like GPa, or a virial" in stress_value_hint(found)


def test_crystals_under_one_pressure_say_nothing_of_the_sign():
    found = graphs(crystals(), lambda stress, volume: -1e-6 * volume * np.eye(3))
    assert stress_value_hint(found) is None
    found = graphs(crystals(), lambda stress, volume: -1e-3 * volume * np.eye(3))
    assert SIGN in stress_value_hint(found)


def test_chance_says_nothing_of_the_sign():
    rng = np.random.default_rng(0)
    found = graphs(crystals(number=10))
    for _ in range(200):
        for graph in found:
            graph.stress = torch.eye(3).double()[None] * rng.normal(scale=0.1)
        assert not CrystalPairs(found).fall


def test_few_crystals_say_nothing_of_the_sign():
    flipped = graphs(crystals(number=9), lambda stress, volume: -stress)
    assert stress_value_hint(flipped) is None
    assert not CrystalPairs(flipped[:1]).fall
    assert CrystalPairs(flipped[:1]).energy_over_work(np.ones(1)) is None


def test_immense_pressure_that_energies_agree_with_is_no_other_unit():
    found = graphs(crystals(squeeze=0.14, swell=0.01))
    assert all(graph.stress.abs().max() > 0.6 for graph in found)
    assert stress_value_hint(found) is None


def test_what_a_trajectory_shows_is_not_said_twice(tmp_path, capsys):
    path = tmp_path / "a.extxyz"
    frames = []
    for step in range(30):
        atoms = bulk("Cu", a=3.5 + 0.01 * step, cubic=True)
        atoms.calc = EMT()
        frame = atoms.copy()
        frame.info["energy"] = atoms.get_potential_energy()
        frame.info["stress"] = -atoms.get_stress()
        frames.append(frame)
    ase.io.write(path, frames)
    assert main(["data", "check", str(path), "--stress"]) == 0
    said = capsys.readouterr().out
    assert "times the work of the stress (the sign is that of a pressure" in said
    assert SIGN not in said


def test_check_tells_of_crystals_after_many_molecules(tmp_path, capsys):
    path = tmp_path / "a.extxyz"
    molecules = []
    for index in range(310):
        atoms = bulk("Cu")
        atoms.pbc, atoms.cell = False, np.zeros((3, 3))
        atoms.info["energy"] = float(index)
        molecules.append(atoms)
    frames = []
    for atoms in crystals():
        frame = atoms.copy()
        frame.info["energy"] = atoms.get_potential_energy()
        frame.info["stress"] = -atoms.get_stress()
        frames.append(frame)
    ase.io.write(path, molecules + frames)
    assert main(["data", "check", str(path), "--stress"]) == 0
    assert SIGN in capsys.readouterr().out
