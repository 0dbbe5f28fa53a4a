"""What models know nothing of is told of inputs, and seen in results."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from molflt.cli import main

WORDS = ["emt-forces", "in.traj", "-o", "out.extxyz"]
CLOSE = "atoms closer to each other than bonds are"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def whole(seed=0) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=seed)
    return atoms


def coincident() -> Atoms:
    """Forces of the model become small, and the atoms stay in each other."""
    atoms = bulk("Cu", a=3.65, cubic=True).repeat((2, 2, 1))
    atoms.positions[1] = atoms.positions[0] + [0.05, 0.001, 0]
    return atoms


def in_nm() -> Atoms:
    return Atoms(
        bulk("Cu", cubic=True), positions=whole().positions / 10, cell=[0.36] * 3
    )


def remarks(text: str) -> list[str]:
    """Lines that say what was read."""
    starts = ("warning: ", "1 structures: ", "2 structures: ", "3 structures: ")
    return [line for line in text.splitlines() if line.startswith(starts)]


def test_inputs_get_the_remarks_that_predictions_get(folder, capsys):
    wire = whole()
    wire.pbc = [True, False, False]
    ase.io.write("in.traj", [whole(), coincident(), Atoms("Cu", cell=[0.3] * 3), wire])
    main(["relax", *WORDS, "--steps=2"])
    told = remarks(capsys.readouterr().err)
    assert "1 structures: no tags; pbc T F F, which the training set has not" in told
    assert any(f"warning: 1 structures have {CLOSE}" in line for line in told)
    assert main(["predict", *WORDS]) == 0
    assert remarks(capsys.readouterr().err) == told
    # As they were read: where an earlier run has brought them does not matter.
    main(["relax", *WORDS[:-1], "two.extxyz", "--steps=1"])
    capsys.readouterr()
    main(["relax", *WORDS[:-1], "two.extxyz", "--steps=2", "--resume"])
    assert remarks(capsys.readouterr().err) == told


def test_atoms_that_end_in_each_other_are_not_counted_as_relaxed(folder, capsys):
    frames = [whole(), coincident(), Atoms("Cu", cell=[0.3] * 3, pbc=True), in_nm()]
    ase.io.write("in.traj", frames)
    assert main(["relax", *WORDS]) == 1
    told = capsys.readouterr().err
    assert "1 of 4 structures relaxed to 0.05 eV/Å" in told
    assert f"molflt: 3 structures ended with {CLOSE}" in told
    assert ": in.traj, frame 1; in.traj, frame 2; in.traj, frame 3\n" in told
    assert "have not converged" not in told
    found = ase.io.read("out.extxyz", ":")
    # What the forces say stands beside what they are worth.
    assert [atoms.info["relax_converged"] for atoms in found] == [True] * 4
    assert [atoms.info["relax_close_atoms"] for atoms in found] == [
        *(False, True, True, True)
    ]
    assert found[1].get_distance(0, 1, mic=True) < 0.1
    # Going on does not forget it, though nothing is left to do.
    before = (folder / "out.extxyz").read_bytes()
    assert main(["relax", *WORDS, "--resume"]) == 1
    assert f"molflt: 3 structures ended with {CLOSE}" in capsys.readouterr().err
    assert (folder / "out.extxyz").read_bytes() == before


def test_a_start_with_close_atoms_may_end_well(folder, capsys):
    """The result counts: atoms that came apart are relaxed."""
    atoms = bulk("Cu", cubic=True).repeat((2, 1, 1))
    step = atoms.get_distance(0, 1, mic=True, vector=True)
    atoms.positions[1] -= 0.5 * step
    ase.io.write("in.traj", atoms)
    assert main(["relax", *WORDS]) == 0
    told = capsys.readouterr().err
    assert f"warning: 1 structures have {CLOSE}" in told
    end = ase.io.read("out.extxyz")
    assert end.get_all_distances(mic=True)[np.triu_indices(len(end), 1)].min() > 1.6
    assert not end.info["relax_close_atoms"]
    assert "structures ended with" not in told


def test_only_the_first_of_many_are_named(folder, capsys):
    tiny = Atoms("Cu", cell=[0.3] * 3, pbc=True)
    ase.io.write("in.traj", [tiny] * 12)
    assert main(["relax", *WORDS]) == 1
    told = capsys.readouterr().err
    assert "0 of 12 structures relaxed" in told
    assert "frame 8; in.traj, frame 9; ...\n" in told
    assert "frame 10" not in told
