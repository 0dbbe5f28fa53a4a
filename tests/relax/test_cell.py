"""Crystals relax with their cells: to the minimum of E + P V, as ASE's filter does."""

import os

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms
from ase.filters import FrechetCellFilter
from ase.io.trajectory import Trajectory
from ase.units import GPa

import molflt
from molflt.cli import main
from molflt.relax.relaxation import OPTIMIZERS, Relaxer
from tests.relax.systems import slab

FMAX = 0.002  # eV/Å, and eV per atom
TILT = np.array([[1.04, 0.02, 0.0], [0.0, 0.97, 0.0], [0.01, 0.0, 1.03]])
WORDS = ["relax", "emt-forces", "in.traj", "-o", "out.extxyz", "--cell"]
WORDS += ["--fmax", str(FMAX)]


def copper(cubic=True, seed=0) -> Atoms:
    """Strained and shaken."""
    atoms = bulk("Cu", cubic=cubic)
    atoms.set_cell(atoms.cell @ TILT, scale_atoms=True)
    atoms.rattle(0.03, seed=seed)
    return atoms


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def calculator():
    return molflt.FLTCalculator("emt-forces")


def results(atoms, calculator):
    copy = atoms.copy()
    copy.set_constraint()
    copy.calc = calculator
    return copy.get_potential_energy(), copy.get_forces(), copy.get_stress()


def alone(atoms, calculator, optimizer, pressure, steps=200):
    """Relax one crystal with ASE as its users do."""
    atoms = atoms.copy()
    atoms.calc = calculator
    moved = FrechetCellFilter(atoms, scalar_pressure=pressure * GPa)
    run = OPTIMIZERS[optimizer](moved, logfile=None)
    run.run(fmax=FMAX, steps=steps)
    return atoms, run.nsteps


def test_the_cell_ends_at_the_minimum_of_the_equation_of_state(folder, calculator):
    edges = np.linspace(3.54, 3.66, 13)
    energies = []
    for edge in edges:
        atoms = bulk("Cu", a=edge, cubic=True)
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy())
    curve = np.polynomial.Polynomial.fit(edges, energies, 4)
    roots = [r.real for r in curve.deriv().roots() if abs(r.imag) < 1e-9]
    (best,) = [root for root in roots if 3.54 < root < 3.66]
    ase.io.write("in.traj", [copper(), copper(cubic=False)])
    assert main(WORDS) == 0
    found = ase.io.read("out.extxyz", ":")
    for atoms in found:
        assert atoms.get_volume() / len(atoms) == pytest.approx(best**3 / 4, rel=1e-3)
        assert atoms.get_potential_energy() / len(atoms) == pytest.approx(
            curve(best) / 4, abs=1e-4
        )
        assert atoms.info["relax_converged"]
    np.testing.assert_allclose(found[0].cell.angles(), 90, atol=0.2)
    np.testing.assert_allclose(found[0].cell.lengths(), best, rtol=2e-3)


@pytest.mark.parametrize(("optimizer", "pressure"), [("fire", 0), ("bfgs", 20)])
def test_a_batch_ends_where_each_alone_ends(folder, calculator, optimizer, pressure):
    frames = [copper(), copper(cubic=False), copper(seed=1)]
    frames[0].info |= {"stress": np.ones((3, 3)), "energy": 7.0}  # of another geometry
    ase.io.write("in.traj", frames)
    words = [*WORDS, "--optimizer", optimizer, "--pressure", str(pressure)]
    assert main([*words, "--batch-atoms", "6", "--trajectory", "steps"]) == 0
    found = ase.io.read("out.extxyz", ":")
    for number, (before, after) in enumerate(zip(frames, found, strict=True)):
        expected, steps = alone(before, calculator, optimizer, pressure)
        assert after.info["relax_steps"] == pytest.approx(steps, abs=1)
        np.testing.assert_allclose(after.cell, expected.cell, atol=2e-3)
        assert after.info["relax_pressure"] == pressure
        # The stress balances the pressure, as closely as the forces vanish.
        size = FMAX * len(after) / after.get_volume()
        stress = after.get_stress()
        balanced = np.array([-pressure * GPa] * 3 + [0.0] * 3)
        np.testing.assert_allclose(stress, balanced, atol=2 * size)
        # What is written belongs to the cell that is written.
        energy, forces, own = results(after, calculator)
        assert after.get_potential_energy() == pytest.approx(energy, abs=1e-4)
        np.testing.assert_allclose(after.get_forces(), forces, atol=1e-4)
        np.testing.assert_allclose(stress, own, atol=1e-5)
        with Trajectory(f"steps/{number:06d}-in-{number}.traj") as images:
            np.testing.assert_allclose(images[0].cell, before.cell, atol=1e-6)
            np.testing.assert_allclose(images[-1].cell, after.cell, atol=1e-6)
            np.testing.assert_allclose(images[-1].get_stress(), stress, atol=1e-7)


def test_without_the_option_cells_stay(folder):
    before = copper()
    before.info["relax_pressure"] = 5.0  # of an earlier relaxation
    ase.io.write("in.traj", before)
    words = [word for word in WORDS if word != "--cell"]
    assert main(words) == 0
    after = ase.io.read("out.extxyz")
    np.testing.assert_allclose(after.cell, before.cell, atol=1e-12)
    assert "stress" not in after.calc.results
    assert "relax_pressure" not in after.info
    assert main([*words, "--resume"]) == 0


def test_held_atoms_keep_their_place_in_the_cell(folder):
    before = copper()
    before.set_constraint(FixAtoms([0, 2]))
    ase.io.write("in.traj", before)
    assert main(WORDS) == 0
    after = ase.io.read("out.extxyz")
    moved = after.get_scaled_positions() - before.get_scaled_positions()
    np.testing.assert_allclose(moved[[0, 2]], 0, atol=1e-6)
    assert np.abs(moved[[1, 3]]).max() > 1e-3
    assert np.abs(after.positions - before.positions)[[0, 2]].max() > 1e-3
    assert list(after.constraints[0].index) == [0, 2]


def test_resumed_runs_end_where_uninterrupted_ones_do(folder, monkeypatch, capsys):
    ase.io.write("in.traj", [copper(), copper(seed=1)])
    words = [*WORDS, "--pressure", "5"]
    assert main(words) == 0
    expected = ase.io.read("out.extxyz", ":")
    os.remove("out.extxyz")
    assert main([*words, "--steps=4"]) == 1
    short = ase.io.read("out.extxyz", ":")
    assert abs(short[0].get_volume() - expected[0].get_volume()) > 1e-3
    rounds = Relaxer._round
    calls = []

    def interrupted(self):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return rounds(self)

    monkeypatch.setattr(Relaxer, "_round", interrupted)
    assert main([*words, "--resume"]) == 130
    monkeypatch.undo()
    os.chdir(folder)
    kept = (folder / "out.partial.extxyz").read_bytes()
    capsys.readouterr()
    for other, told in (
        ([*WORDS, "--pressure", "6"], "with --cell --pressure 6.0"),
        ([word for word in WORDS if word != "--cell"], "without --cell"),
    ):
        assert main([*other, "--resume"]) == 2
        said = capsys.readouterr().err
        assert "out.partial.extxyz was relaxed with --cell --pressure 5.0" in said
        assert f"cannot go on {told}; give the same options" in said
        assert (folder / "out.partial.extxyz").read_bytes() == kept
    assert main([*words, "--resume"]) == 0
    for one, two in zip(ase.io.read("out.extxyz", ":"), expected, strict=True):
        assert one.info["relax_steps"] > 7
        np.testing.assert_allclose(one.cell, two.cell, atol=0.02)
        assert one.get_volume() == pytest.approx(two.get_volume(), rel=1e-3)
        energy = two.get_potential_energy()
        assert one.get_potential_energy() == pytest.approx(energy, abs=2e-3)
        start = two.info["relax_initial_energy"]
        assert one.info["relax_initial_energy"] == pytest.approx(start, abs=1e-5)
    # Nothing is left to do: how far it is from the end was kept with the cell it had.
    before = (folder / "out.extxyz").read_bytes()
    assert main([*words, "--resume"]) == 0
    assert (folder / "out.extxyz").read_bytes() == before


def test_what_is_no_crystal_is_refused_by_name(folder, capsys):
    ase.io.write("in.traj", [slab(), copper(), molecule("CO")])
    assert main([*WORDS, "--trajectory", "steps"]) == 1
    (found,) = ase.io.read("out.extxyz", ":")
    assert found.info["relax_frame"] == 1
    said = capsys.readouterr().err
    assert "in.traj, frame 0: only the cell of a structure with three periodic" in said
    assert "not of one with pbc T T F" in said
    assert "in.traj, frame 2: only the cell" in said
    assert len(os.listdir("steps")) == 1


@pytest.mark.parametrize(
    ("pressure", "told"),
    [("5", "it needs --cell"), ("0", "it needs --cell"), ("nan", "a finite number")],
)
def test_a_pressure_on_no_cell_is_refused(folder, pressure, told, capsys):
    words = WORDS if pressure == "nan" else [w for w in WORDS if w != "--cell"]
    assert main([*words, "--pressure", pressure]) == 2
    assert told in capsys.readouterr().err
    assert not os.listdir()


def test_a_cell_that_is_lost_is_a_failure_of_its_structure(folder, monkeypatch, capsys):
    """A tension that nothing withstands; one of two that goes further than allowed."""
    ase.io.write("in.traj", [copper(), bulk("Cu", cubic=True)])
    assert main([*WORDS, "--pressure=-400"]) == 1
    said = capsys.readouterr().err
    assert "None of 2 inputs could be used; in.traj, frame " in said
    assert "the relaxation lost the cell, which is 2 times as long in one" in said
    assert not os.path.exists("out.extxyz")
    assert not os.path.exists("out.partial.extxyz")
    monkeypatch.setattr("molflt.relax.crystal_cell.LARGEST_STRETCH", 1.02)
    assert main(WORDS) == 1
    said = capsys.readouterr().err
    assert "in.traj, frame 0: the relaxation lost the cell, which is" in said
    assert "1 structures or files could not be used" in said
    (found,) = ase.io.read("out.extxyz", ":")
    assert found.info["relax_frame"] == 1
