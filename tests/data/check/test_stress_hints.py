"""Stress that does not belong to the energies, in frames of EMT."""

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import GPa

from molflt.cli import main
from molflt.data.check.stress_hints import stress_hint
from molflt.data.molecule import atoms_to_graph


def frames(number=10, strain=0.01, rattle=0.03):
    """Return copper in cells that walk about, with the results of EMT."""
    rng = np.random.default_rng(0)
    atoms, found = bulk("Cu", cubic=True) * (2, 1, 1), []
    for _ in range(number):
        change = np.eye(3) + strain * rng.normal(size=(3, 3))
        atoms.set_cell(atoms.cell @ change, scale_atoms=True)
        atoms.positions += rattle * rng.normal(size=atoms.positions.shape)
        frame = atoms.copy()
        frame.calc = EMT()
        found.append(frame)
    return found


FRAMES = frames()


def graphs(factor=1.0, chosen=FRAMES, forces=True):
    return [
        atoms_to_graph(
            atoms,
            targets={"energy": atoms.get_potential_energy()},
            forces=atoms.get_forces() if forces else None,
            stress=factor * atoms.get_stress(voigt=False)[None],
        )
        for atoms in chosen
    ]


def test_stress_that_belongs_to_the_energies_raises_no_suspicion():
    assert stress_hint(graphs()) is None


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (-1.0, "sign"),
        (1 / GPa, "(GPa instead"),
        (-1 / GPa, "GPa with the sign of a pressure"),
        (-10 / GPa, "kbar with the sign"),
        (3.0, "another unit"),
    ],
)
def test_factors_are_recognised(factor, words):
    assert words in stress_hint(graphs(factor))


def test_frames_that_cannot_be_compared_say_nothing():
    assert stress_hint(graphs(-1.0)[:4]) is None  # too few
    assert stress_hint(graphs(-1.0, frames(strain=0.3))) is None  # too far apart
    assert stress_hint(graphs(-1.0, frames(strain=0.0))) is None  # one cell
    assert stress_hint(graphs(-1.0, forces=False)) is None  # other work is not known
    still = graphs(-1.0, frames(rattle=0.0), forces=False)
    assert "sign" in stress_hint(still)


def test_check_tells_of_stress_and_of_forces_that_are_nothing(tmp_path, capsys):
    path = tmp_path / "frames.extxyz"
    for factor, told in ((1.0, False), (-1.0, True)):
        written = []
        for atoms in FRAMES:
            frame = atoms.copy()
            frame.info["energy"] = atoms.get_potential_energy()
            frame.info["stress"] = factor * atoms.get_stress()
            frame.arrays["forces"] = atoms.get_forces()
            written.append(frame)
        ase.io.write(path, written)
        assert main(["data", "check", str(path), "--stress"]) == 0
        printed = capsys.readouterr().out
        assert "label stress" in printed
        assert ("times the work of the stress" in printed) is told
        assert "all forces are 0" not in printed
    for frame in written:
        frame.arrays["forces"] = np.zeros((len(frame), 3))
    ase.io.write(path, written)
    assert main(["data", "check", str(path)]) == 0
    assert "all forces are 0" in capsys.readouterr().out
