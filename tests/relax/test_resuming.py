"""What was interrupted goes on, whatever interrupted it."""

import errno
import os
from contextlib import contextmanager
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import molecule
from ase.io.trajectory import TrajectoryWriter

import molflt
from molflt.cli import main
from molflt.commands.relax_journal import Journal
from molflt.errors import InputError
from molflt.relax.relaxation import Relaxer
from tests.relax.systems import make_model, slab


def stop_at(monkeypatch, number):
    """Interrupt a relaxation, as Ctrl-C does, before it computes so many times."""
    rounds = Relaxer._round
    calls = []

    def interrupted(self):
        calls.append(1)
        if len(calls) == number:
            raise KeyboardInterrupt
        return rounds(self)

    monkeypatch.setattr(Relaxer, "_round", interrupted)


def test_what_has_not_converged_is_continued(folder, capsys):
    ase.io.write("in.traj", [slab(0), slab(1)])
    words = ["relax", "pes.ckpt", "in.traj", "-o", "out.extxyz", "--fmax=0.1"]
    assert main([*words, "--steps=3"]) == 1
    assert "2 structures have not converged in 3 steps" in capsys.readouterr().err
    short = ase.io.read("out.extxyz", ":")
    assert [atoms.info["relax_steps"] for atoms in short] == [3, 3]
    assert main([*words, "--steps=600", "--resume"]) == 0
    assert "2 of 2 structures relaxed" in capsys.readouterr().err
    done = ase.io.read("out.extxyz", ":")
    for one, two in zip(short, done, strict=True):
        assert two.info["relax_steps"] > 3
        assert two.get_potential_energy() < one.get_potential_energy()
        start = one.info["relax_initial_energy"]
        assert two.info["relax_initial_energy"] == pytest.approx(start)
    # Nothing is left to do: the same file again.
    before = (folder / "out.extxyz").read_bytes()
    assert main([*words, "--steps=600", "--resume"]) == 0
    assert (folder / "out.extxyz").read_bytes() == before


def test_interrupted_runs_go_on(folder, monkeypatch, capsys):
    frames = [slab(seed) for seed in range(4)]
    ase.io.write("in.traj", frames)
    words = ["relax", "pes.ckpt", "in.traj", "-o", "out.extxyz", "--batch-atoms", "9"]
    words += ["--fmax", "0.1"]
    assert main(words) == 0
    expected = ase.io.read("out.extxyz", ":")
    os.remove("out.extxyz")
    stop_at(monkeypatch, 6)
    assert main(words) == 130
    assert "go on with --resume" in capsys.readouterr().err
    monkeypatch.undo()
    os.chdir(folder)
    assert not os.path.exists("out.extxyz")
    assert main(words) == 2
    assert "out.partial.extxyz; go on with --resume" in capsys.readouterr().err
    # As if the machine had stopped while a record was written.
    with open("out.partial.extxyz", "a") as file:
        file.write("9\nLattice=")
    assert main([*words, "--resume"]) == 0
    found = ase.io.read("out.extxyz", ":")
    for one, two in zip(found, expected, strict=True):
        assert one.info["relax_index"] == two.info["relax_index"]
        energy = two.get_potential_energy()
        assert one.get_potential_energy() == pytest.approx(energy, abs=0.2)
        assert one.info["relax_converged"]
    assert not os.path.exists("out.partial.extxyz")


@contextmanager
def largest_file(size):
    """What a full disk does to whoever writes more than `size` bytes to a file."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("trajectory", [False, True])
def test_a_full_disk_is_named_and_the_rest_can_be_done_later(
    folder, trajectory, monkeypatch, capsys
):
    ase.io.write("in.traj", [slab(seed) for seed in range(4)])
    words = ["relax", "pes.ckpt", "in.traj", "-o", "out.extxyz", "--batch-atoms", "9"]
    words += ["--fmax", "0.1"]
    if trajectory:
        words += ["--trajectory", "steps"]

        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(TrajectoryWriter, "write", full)
    with largest_file(3000):
        assert main(words) == 1
    monkeypatch.undo()
    os.chdir(folder)
    lines = capsys.readouterr().err.splitlines()
    (line,) = [line for line in lines if line.startswith("molflt:")]
    place = "steps" if trajectory else "out.partial.extxyz"
    assert line.startswith(f"molflt: Cannot write {place}")
    assert not os.path.exists("out.extxyz")
    assert main([*words, "--resume"]) == 0
    found = ase.io.read("out.extxyz", ":")
    assert [atoms.info["relax_index"] for atoms in found] == [0, 1, 2, 3]
    assert all(atoms.info["relax_converged"] for atoms in found)


def test_two_runs_do_not_write_one_journal(folder, capsys):
    ase.io.write("in.traj", [slab(0), slab(1)])
    words = ["relax", "pes.ckpt", "in.traj", "-o", "out.extxyz", "--steps=2"]
    with Journal(Path("out.extxyz"), resume=False) as journal:
        journal.path.touch()
        assert main([*words, "--resume"]) == 2
        assert "Another process is writing out.partial" in capsys.readouterr().err
        assert journal.path.exists()
    main(words)
    assert len(ase.io.read("out.extxyz", ":")) == 2


def test_resuming_with_other_files_is_refused(folder, capsys):
    ase.io.write("in.traj", slab())
    ase.io.write("other.traj", molecule("CO"))
    words = ["relax", "pes.ckpt", "in.traj", "--fmax", "0.3", "-o", "out.extxyz"]
    assert main(words) == 0
    words[2] = "other.traj"
    assert main([*words, "--resume"]) == 1
    told = capsys.readouterr().err
    assert "out.extxyz has another structure in the place of other.traj" in told
    assert "partial" not in told
    assert main(words) == 0  # what it says to do instead
    ase.io.write("mine.extxyz", molecule("CO"))
    before = (folder / "mine.extxyz").read_bytes()
    assert main([*words[:-1], "mine.extxyz", "--resume"]) == 2
    assert "mine.extxyz was not written by molflt relax" in capsys.readouterr().err
    assert (folder / "mine.extxyz").read_bytes() == before
    assert not (folder / "mine.partial.extxyz").exists()


@pytest.mark.parametrize("change", ["place", "cell", "checkpoint"])
def test_resuming_with_other_terms_is_refused(change, folder, capsys):
    atoms = slab()
    ase.io.write("in.traj", atoms)
    words = ["relax", "pes.ckpt", "in.traj", "--fmax", "0.3", "-o", "out.extxyz"]
    assert main(words) == 0
    before = (folder / "out.extxyz").read_bytes()
    assert main([*words, "--resume"]) == 0
    if change == "checkpoint":
        molflt.save_model(make_model(seed=1), "pes.ckpt")
        told, code = "out.extxyz was relaxed with other checkpoints", 2
    else:
        atoms.positions[0, 0] += 0.01 * (change == "place")
        atoms.cell[2, 2] += 1.0 * (change == "cell")
        ase.io.write("in.traj", atoms)
        told, code = "has another structure in the place of in.traj, frame 0", 1
    assert main([*words, "--resume"]) == code
    assert told in capsys.readouterr().err
    assert (folder / "out.extxyz").read_bytes() == before


def test_momenta_do_not_outlive_the_places_that_they_are_of(folder):
    atoms = slab()
    atoms.set_momenta(atoms.positions)
    ase.io.write("in.traj", atoms)
    assert main(["relax", "pes.ckpt", "in.traj", "--fmax=0.3", "-o", "out.extxyz"]) == 0
    assert not ase.io.read("out.extxyz").has("momenta")


@pytest.mark.parametrize("left", ["", "9", "9\nLattice=", "cut"])
def test_a_journal_without_a_record_is_none(left, folder):
    """As a killed run leaves it, which had finished nothing."""
    ase.io.write("in.traj", slab())
    words = ["relax", "pes.ckpt", "in.traj", "-o", "out.extxyz", "--fmax=0.3"]
    assert main(words) == 0
    expected = (folder / "out.extxyz").read_bytes()
    if left == "cut":  # in the middle of the last number
        left = expected.decode()[:-3]
    for more in ([], ["--resume"]):
        os.remove("out.extxyz")
        Path("out.partial.extxyz").write_text(left)
        assert main([*words, *more]) == 0
        assert (folder / "out.extxyz").read_bytes() == expected
        assert not os.path.exists("out.partial.extxyz")


def test_an_empty_journal_does_not_hide_the_output(folder, capsys):
    ase.io.write("in.traj", slab())
    words = ["relax", "pes.ckpt", "in.traj", "-o", "out.extxyz", "--fmax=0.1"]
    assert main([*words, "--steps=3"]) == 1
    Path("out.partial.extxyz").touch()
    assert main([*words, "--steps=5", "--resume"]) == 1
    assert ase.io.read("out.extxyz").info["relax_steps"] == 5


def test_an_empty_journal_of_a_run_at_work_is_not_taken_from_it(folder, capsys):
    ase.io.write("in.traj", slab())
    words = ["relax", "pes.ckpt", "in.traj", "-o", "out.extxyz", "--steps=2"]
    with Journal(Path("out.extxyz"), resume=False) as journal:
        for more in ([], ["--resume"]):
            assert main([*words, *more]) == 2
            assert "Another process is writing out.partial" in capsys.readouterr().err
        assert journal.path.exists()


def test_a_file_of_others_is_not_overwritten(folder, capsys):
    ase.io.write("in.traj", slab())
    words = ["relax", "pes.ckpt", "in.traj", "-o", "out.extxyz", "--steps=2"]
    Path("out.partial.extxyz").write_text("my notes\n")
    assert main(words) == 2
    assert "or remove it" in capsys.readouterr().err
    assert Path("out.partial.extxyz").read_text() == "my notes\n"


def test_a_structure_that_fails_after_it_was_interrupted_is_not_in_the_output(
    folder, monkeypatch, capsys
):
    ase.io.write("in.traj", [slab(0), slab(1)])
    words = ["relax", "pes.ckpt", "in.traj", "-o", "out.extxyz", "--fmax=0.1"]
    rounds = Relaxer._round
    stop_at(monkeypatch, 3)
    assert main(words) == 130
    left = ase.io.read("out.partial.extxyz", ":")
    assert [atoms.info["relax_steps"] for atoms in left] == [2, 2]
    # They have moved since their forces were computed, and no others are theirs.
    assert all(atoms.calc is None for atoms in left)
    monkeypatch.undo()
    os.chdir(folder)

    def broken(self):
        for running in self.active:
            if running.job.index == 1:
                running.broken = InputError("in.traj, frame 1: lost.")
        yield from rounds(self)

    monkeypatch.setattr(Relaxer, "_round", broken)
    assert main([*words, "--resume"]) == 1
    assert "in.traj, frame 1: lost." in capsys.readouterr().err
    (found,) = ase.io.read("out.extxyz", ":")
    assert found.info["relax_index"] == 0


def test_the_last_step_of_an_interrupted_run_gets_its_own_forces(folder, monkeypatch):
    ase.io.write("in.traj", slab())
    words = ["relax", "pes.ckpt", "in.traj", "-o", "out.extxyz", "--fmax=1e-9"]
    words += ["--steps=4"]
    assert main(words) == 1
    expected = ase.io.read("out.extxyz")
    os.remove("out.extxyz")
    stop_at(monkeypatch, 5)  # after all steps, before the forces that they led to
    assert main(words) == 130
    monkeypatch.undo()
    os.chdir(folder)
    assert main([*words, "--resume"]) == 1
    found = ase.io.read("out.extxyz")
    np.testing.assert_allclose(found.get_forces(), expected.get_forces(), atol=1e-5)
    assert found.info["relax_fmax"] == pytest.approx(expected.info["relax_fmax"])
