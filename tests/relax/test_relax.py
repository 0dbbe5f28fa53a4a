"""Relaxations in batches are ASE's own, and keep constraints."""

import os
from itertools import chain

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.constraints import FixBondLength, Hookean
from ase.io.trajectory import Trajectory

import molflt
from molflt.cli import main
from molflt.domain import Domain
from molflt.evaluation import Ensemble
from molflt.read_structures import read_structures
from molflt.relax.relaxation import OPTIMIZERS, Job, Relaxer, Settings
from tests.relax.systems import make_model, slab, structures


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


def test_energies_of_springs_are_not_the_models(folder):
    before = molecule("H2O")
    before.set_constraint(Hookean(1, 2, k=10.0, rt=1.0))
    ase.io.write("in.traj", before)
    main(["relax", "pes.ckpt", "in.traj", "-o", "out.extxyz", "--steps=1"])
    after = ase.io.read("out.extxyz")
    first = molflt.load("pes.ckpt").predict([before])["energy"][0]
    assert after.info["relax_initial_energy"] == pytest.approx(first, abs=1e-6)


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
