"""Energies and forces that do not belong together, in a trajectory of EMT."""

import numpy as np
import pytest
from ase import units
from ase.build import fcc111, molecule
from ase.calculators.emt import EMT
from ase.md.verlet import VelocityVerlet

from molflt.data.check.force_hints import work_hint
from molflt.data.molecule import make_graph
from molflt.units import BOHR, HARTREE, KCAL_PER_MOL


def frames(number=12, stride=3):
    """Yield numbers, positions, cell, energies and forces of a slab at 600 K."""
    slab = fcc111("Cu", (2, 2, 3), vacuum=6.0)
    slab.calc = EMT()
    spread = np.sqrt(slab.get_masses() * 600 * units.kB)[:, None]
    slab.set_momenta(spread * np.random.default_rng(0).normal(size=(len(slab), 3)))
    dynamics = VelocityVerlet(slab, 2 * units.fs)
    for _ in range(number):
        dynamics.run(stride)
        yield slab.copy(), slab.get_potential_energy(), slab.get_forces()


TRAJECTORY = list(frames())


def graphs(energy=1.0, force=1.0, noise=0.0):
    rng = np.random.default_rng(1)
    return [
        make_graph(
            *(slab.numbers, slab.positions),
            cell=slab.cell[:],
            pbc=slab.pbc,
            targets={"energy": e * energy},
            forces=f * force + noise * rng.normal(size=f.shape),
        )
        for slab, e, f in TRAJECTORY
    ]


def test_units_that_belong_together_raise_no_suspicion():
    assert work_hint(graphs()) is None
    assert work_hint(graphs(1 / KCAL_PER_MOL, 1 / KCAL_PER_MOL)) is None


@pytest.mark.parametrize(
    ("energy", "force", "words"),
    [
        (1.0, -1.0, "wrong sign"),
        (1.0, 1 / KCAL_PER_MOL, "energies in eV, forces in kcal/mol/Å"),
        (1 / KCAL_PER_MOL, 1.0, "energies in kcal/mol, forces in eV/Å"),
        (1 / HARTREE, BOHR / HARTREE, "energies in hartree, forces in hartree/bohr"),
        (1.0, BOHR / HARTREE, "energies in eV, forces in hartree/bohr"),
        (1 / HARTREE, 1.0, "energies in hartree, forces in eV/Å"),
        (3.0, 1.0, "units differ"),
    ],
)
def test_factors_are_recognised(energy, force, words):
    hint = work_hint(graphs(energy, force))
    assert words in hint, hint


def test_frames_that_cannot_be_compared_say_nothing():
    assert work_hint(graphs(force=0.0, noise=3.0)) is None  # no common factor
    assert work_hint(graphs(force=-1.0)[:3]) is None  # too few
    assert work_hint(graphs(force=-1.0)[::4]) is None  # too far from each other
    water = make_graph(molecule("H2O").numbers, molecule("H2O").positions)
    assert work_hint([water] * 20) is None
    assert work_hint([]) is None
