"""What is said of energies that are those of the geometry, not after a relaxation."""

import ase.io
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from molflt.cli import main
from molflt.data import AtomsFiles
from molflt.data.check.relaxed_hints import relaxed_hint
from molflt.data.labels.rules import LabelRules
from molflt.targets import TargetSpec

RELAXED = LabelRules(kind="relaxed")


@pytest.fixture
def steps(tmp_path):
    """Two steps of water with energies and large forces."""
    path = tmp_path / "steps.traj"
    frames = []
    for scale in (1.2, 1.1):
        atoms = molecule("H2O")
        atoms.positions *= scale
        atoms.calc = EMT()
        atoms.get_forces()
        frames.append(atoms)
    ase.io.write(path, frames)
    return path


def test_a_trajectory_has_no_energies_after_relaxation(steps, tmp_path, capsys):
    command = ["data", "convert", str(steps), str(tmp_path / "a.lmdb")]
    assert main([*command, "--kind", "relaxed"]) == 0
    assert "not of where relaxations end" in capsys.readouterr().err
    assert main(command) == 0
    assert "relaxations" not in capsys.readouterr().err


def test_training_on_a_trajectory_warns_too(steps, caplog):
    own = {"targets": [TargetSpec("energy", kind="relaxed")]}
    for options, told in (({"kind": "relaxed"}, 1), (own, 1), ({}, 0)):
        caplog.clear()
        AtomsFiles(steps, val_fraction=0.5, **options).setup()
        said = [r for r in caplog.records if r.levelname == "WARNING"]
        said = [r.getMessage() for r in said if "relaxations end" in r.getMessage()]
        assert len(said) == told
        assert all(str(steps) in words for words in said)


def test_nothing_is_said_of_labels_of_another_name(steps):
    assert relaxed_hint(steps, RELAXED)
    assert relaxed_hint(steps, LabelRules("E_ads", kind="relaxed")) is None


def test_forces_on_held_atoms_are_no_hint(steps):
    frames = ase.io.read(steps, ":")
    for atoms in frames:
        atoms.set_constraint(FixAtoms([0, 1, 2]))
    ase.io.write(steps, frames)
    assert relaxed_hint(steps, RELAXED) is None


def test_starts_with_the_energy_of_the_end_are_what_is_wanted(tmp_path):
    start = molecule("H2O")
    start.info["energy"] = -1.0
    ase.io.write(tmp_path / "starts.extxyz", start)
    assert relaxed_hint(tmp_path / "starts.extxyz", RELAXED) is None
