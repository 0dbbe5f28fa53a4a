"""Trajectories of relaxations that were stopped are those of one that was not."""

from itertools import pairwise
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.trajectory import Trajectory, TrajectoryWriter

from molflt.cli import main
from molflt.errors import InputError
from molflt.relax.trajectory import open_trajectory
from tests.relax.systems import slab, structures


@pytest.mark.parametrize("stops", [[5], [1, 5, 6]])
@pytest.mark.parametrize("cell", [False, True])
def test_trajectories_have_one_frame_a_step_however_often_stopped(stops, cell, folder):
    frames = [slab(0), slab(1)]
    if cell:
        frames = [atoms for atoms in structures() if atoms.pbc.all()] * 2
    ase.io.write("in.traj", frames)
    words = ["relax", "pes.ckpt", "in.traj", "-o", "out.extxyz", "--fmax=1e-9"]
    words += ["--trajectory", "tj"] + ["--cell"] * cell
    for steps in [*stops, 8]:
        assert main([*words, f"--steps={steps}", "--resume"]) == 1
    for index, atoms in enumerate(ase.io.read("out.extxyz", ":")):
        with Trajectory(f"tj/{index:06d}-in-{index}.traj") as images:
            places = [image.positions for image in images]
            assert len(places) == atoms.info["relax_steps"] + 1 == 9
            np.testing.assert_allclose(places[0], frames[index].positions, atol=1e-6)
            np.testing.assert_allclose(places[-1], atoms.positions, atol=1e-6)
            energies = [image.get_potential_energy() for image in images]
            assert images[0].constraints or not frames[index].constraints
        moved = [np.abs(b - a).max() for a, b in pairwise(places)]
        assert min(moved) > 1e-7  # none comes twice
        assert energies[-1] == pytest.approx(atoms.get_potential_energy(), abs=1e-5)


def test_frames_of_a_run_that_went_further_than_its_record_are_replaced(folder):

    def image(place):
        atoms = bulk("Cu")
        atoms.positions[0, 0] = place
        atoms.calc = SinglePointCalculator(atoms, energy=1.5)
        return atoms

    with TrajectoryWriter("a.traj") as file:
        for step in range(7):
            file.write(image(step))
    with open_trajectory(Path("a.traj"), 4) as file:
        file.write(image(40))
    with Trajectory("a.traj") as images:
        assert [image.positions[0, 0] for image in images] == [0, 1, 2, 3, 40]
        assert images[2].get_potential_energy() == 1.5
    Path("a.traj").write_text("no trajectory, but as long as the header of one is")
    with pytest.raises(InputError, match="Cannot write a.traj"):
        open_trajectory(Path("a.traj"), 4)
