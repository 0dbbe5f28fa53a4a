"""Relaxations in batches are ASE's own, keep constraints, and can be interrupted."""

import errno
import os
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, molecule
from ase.constraints import FixAtoms, FixBondLength
from ase.io.trajectory import Trajectory, TrajectoryWriter

import molflt
from molflt.cli import main
from molflt.commands.relax_journal import Journal
from molflt.domain import Domain
from molflt.evaluation import Ensemble
from molflt.model import FLTEncoder, FLTModel
from molflt.read_structures import read_structures
from molflt.relax import OPTIMIZERS, Job, Relaxer, Settings
from molflt.targets import TargetSpec

PATTERNS = [[False] * 3, [True, True, False], [True] * 3]


def make_model(kind="potential", seed=0):
    torch.manual_seed(seed)
    encoder = FLTEncoder(
        width=16, num_layers=1, num_near_heads=2, num_far_heads=0, cutoff=4.0
    )
    model = FLTModel(encoder, [TargetSpec("energy", kind=kind)]).eval()
    statistics = {"element_reference": {}, "mean": 0.0, "std": 20.0}
    statistics |= {"elements": [1, 6, 8, 29], "pbc_seen": PATTERNS}
    model.set_statistics("energy", statistics)
    return model


def slab(seed=0) -> Atoms:
    atoms = fcc111("Cu", (2, 2, 2), vacuum=6.0)
    add_adsorbate(atoms, "O", 1.3, "fcc")
    atoms.info.clear()
    atoms.set_constraint(FixAtoms(mask=atoms.get_tags() == 2))
    atoms.rattle(0.05, seed=seed)
    return atoms


def structures() -> list[Atoms]:
    frames = [molecule("CO"), slab(), bulk("Cu", cubic=True), slab(1), Atoms("O")]
    for seed, atoms in enumerate(frames):
        atoms.info.clear()
        atoms.set_tags(0)
        atoms.rattle(0.05, seed=seed)
    frames[0].set_constraint(FixBondLength(0, 1))
    return frames


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    molflt.save_model(make_model(), "pes.ckpt")
    return tmp_path


def alone(atoms, optimizer, fmax=0.2, steps=200):
    """Relax one structure with ASE as its users do."""
    atoms = atoms.copy()
    atoms.calc = molflt.FLTCalculator(make_model())
    run = OPTIMIZERS[optimizer](atoms, logfile=None)
    run.run(fmax=fmax, steps=steps)
    return atoms, run.nsteps


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_batch_ends_where_each_alone_ends(folder, optimizer):
    frames = structures()
    ase.io.write("in.traj", frames)
    words = ["relax", "pes.ckpt", "in.traj", "-o", "out.extxyz"]
    words += ["--optimizer", optimizer, "--batch-atoms", "12", "--fmax", "0.2"]
    assert main(words) == 0
    found = ase.io.read("out.extxyz", ":")
    assert len(found) == len(frames)
    moved = 0
    for before, after in zip(frames, found, strict=True):
        expected, steps = alone(before, optimizer)
        assert after.info["relax_steps"] == steps
        np.testing.assert_allclose(after.positions, expected.positions, atol=2e-4)
        energy = expected.get_potential_energy()
        assert after.get_potential_energy() == pytest.approx(energy, abs=1e-4)
        assert after.info["relax_converged"]
        assert after.info["relax_fmax"] <= 0.2
        moved += steps > 3
    assert moved >= 2
    assert not os.path.exists("out.partial.extxyz")


def test_chosen_frames_are_relaxed_and_others_are_no_continuation(folder, capsys):
    frames = structures()
    ase.io.write("in.traj", frames)
    words = ["relax", "pes.ckpt", "in.traj", "-o", "out.extxyz", "--steps=2"]
    main([*words, "--frames=-1"])
    (found,) = ase.io.read("out.extxyz", ":")
    assert found.info["relax_frame"] == len(frames) - 1
    assert found.get_chemical_formula() == frames[-1].get_chemical_formula()
    assert main([*words, "--frames=0", "--resume"]) == 1
    assert "has another structure in the place of in.traj, frame 0" in (
        capsys.readouterr().err
    )


def test_held_atoms_stay_and_are_still_held_in_the_output(folder):
    before = slab()
    ase.io.write("in.extxyz", before)
    words = ["relax", "pes.ckpt", "in.extxyz", "-o", "out.extxyz", "--fmax=0.02"]
    assert main([*words, "--trajectory", "steps"]) == 0
    after = ase.io.read("out.extxyz")
    held = before.get_tags() == 2
    assert list(after.constraints[0].index) == list(np.flatnonzero(held))
    np.testing.assert_allclose(after.positions[held], before.positions[held], atol=1e-7)
    assert np.abs(after.positions - before.positions)[~held].max() > 0.01
    forces = np.linalg.norm(after.get_forces(), axis=1)
    assert forces.max() <= 0.02
    raw = np.linalg.norm(after.get_forces(apply_constraint=False), axis=1)
    assert raw[held].max() > 0.02
    # The trajectory goes downhill from the input to the output.
    with Trajectory("steps/000000-in-0.traj") as steps:
        assert len(steps) == after.info["relax_steps"] + 1
        np.testing.assert_allclose(steps[0].positions, before.positions, atol=1e-6)
        np.testing.assert_allclose(steps[-1].positions, after.positions, atol=1e-6)
        first, last = (steps[k].get_potential_energy() for k in (0, -1))
    assert last < first
    assert after.info["relax_initial_energy"] == pytest.approx(first)


def test_constraints_that_the_output_cannot_hold_are_told(folder, capsys):
    before = molecule("H2O")
    before.rattle(0.05, seed=0)
    before.set_constraint(FixBondLength(0, 1))
    ase.io.write("in.traj", before)
    words = ["relax", "pes.ckpt", "in.traj", "-o", "out.extxyz", "--steps=3"]
    main(words)
    after = ase.io.read("out.extxyz")
    assert after.get_distance(0, 1) == pytest.approx(before.get_distance(0, 1))
    told = capsys.readouterr().err
    assert "warning: FixBondLengths held in the relaxation, but out.extxyz" in told


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
    rounds = Relaxer._round
    calls = []

    def interrupted(self):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return rounds(self)

    monkeypatch.setattr(Relaxer, "_round", interrupted)
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


def test_bad_structures_do_not_stop_the_others(folder, capsys):
    broken = molecule("CO")
    broken.positions[1] = np.nan
    ase.io.write("in.traj", [slab(), broken, Atoms("Au"), Atoms("O")])
    words = ["relax", "pes.ckpt", "none.xyz", "in.traj", "-o", "out.extxyz"]
    words += ["--fmax", "0.3"]
    assert main(words) == 1
    found = ase.io.read("out.extxyz", ":")
    assert [atoms.info["relax_frame"] for atoms in found] == [0, 3]
    printed = capsys.readouterr().err
    for phrase in ("none.xyz", "in.traj, frame 1", "in.traj, frame 2 has Au"):
        assert phrase in printed
    assert "3 structures or files could not be used" in printed
    assert main(["relax", "pes.ckpt", "none.xyz", "-o", "x.extxyz"]) == 1
    assert not list(folder.glob("x*"))


def test_models_without_forces_are_refused(folder, capsys):
    molflt.save_model(make_model("relaxed"), "is2re.ckpt")
    ase.io.write("in.traj", slab())
    assert main(["relax", "is2re.ckpt", "in.traj", "-o", "out.extxyz"]) == 2
    assert "energy after relaxation, predicted from" in capsys.readouterr().err
    assert main(["relax", "pes.ckpt", "in.traj", "-o", "out.csv"]) == 2
    assert "must end in .extxyz" in capsys.readouterr().err


def test_ensembles_follow_the_mean(folder):
    molflt.save_model(make_model(seed=1), "two.ckpt")
    before = slab()
    ase.io.write("in.traj", before)
    words = ["relax", "pes.ckpt", "two.ckpt", "in.traj", "-o", "out.extxyz"]
    words += ["--fmax", "0.3"]
    assert main(words) == 0
    after = ase.io.read("out.extxyz")
    atoms = after.copy()
    atoms.calc = molflt.FLTCalculator([make_model(), make_model(seed=1)])
    energy = atoms.get_potential_energy()
    assert after.get_potential_energy() == pytest.approx(energy, abs=1e-4)


def test_structures_are_read_as_there_is_room(folder):
    """A stream without an end: only as many are read as are in work."""
    ase.io.write("in.traj", [slab(seed) for seed in range(2)])
    ensemble = Ensemble(["pes.ckpt"])
    domain = Domain(ensemble.models)
    read = []

    def endless():
        for index in range(10_000):
            item = list(read_structures("in.traj", (), domain))[index % 2]
            read.append(index)
            yield Job(index, item)

    relaxer = Relaxer(ensemble, "energy", Settings(fmax=0.3, batch_atoms=18))
    done = relaxer.run(endless())
    assert next(chain(done)).converged
    assert len(read) < 15
