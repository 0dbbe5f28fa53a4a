"""Frames for force fields: every label is EMT's, and they are what they are called."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from molflt.data.emt.frames import CUBES, crystal, frame_of, rattled
from molflt.data.emt.generate import split_plan
from molflt.data.emt.relax import make_system
from molflt.data.emt.systems import METALS

SEED = 3


@pytest.fixture(scope="module")
def system():
    """The first system whose adsorbate has more than one atom."""
    for attempt in range(20):
        found = make_system(split_plan("train"), 0, attempt, SEED, frames=True)
        if (found.initial.get_tags() == 2).sum() > 1:
            return found
    raise AssertionError("no molecule")


def test_labels_are_those_of_ases_emt(system):
    for frame in system.frames:
        atoms = frame.atoms.copy()
        atoms.calc = EMT()
        assert frame.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
        np.testing.assert_allclose(frame.forces, atoms.get_forces(), atol=1e-8)
        assert not atoms.constraints
        assert not atoms.get_tags().any()


def test_frames_are_what_their_names_say(system):
    frames = {frame.name: frame.atoms for frame in system.frames}
    assert len(frames) == len(system.frames)
    adsorbate = system.initial.get_tags() == 2
    assert set(frames) >= {"rattled0", "slab", "gas", "bulk", "0"}
    assert any(name.startswith("pressed") for name in frames)
    assert len(frames["slab"]) == (~adsorbate).sum()
    assert len(frames["gas"]) == adsorbate.sum()
    assert not frames["gas"].pbc.any()
    assert frames["bulk"].pbc.all()
    assert set(frames["bulk"].symbols) <= set(system.initial.symbols[~adsorbate])
    np.testing.assert_array_equal(frames["0"].positions, system.initial.positions)
    last = system.frames[-1].atoms.positions
    np.testing.assert_array_equal(last, system.relaxed)
    steps = [int(name) for name in frames if name.isdigit()]
    assert steps == sorted(steps)
    # Rattled ones differ from all that the relaxation passed, in every atom.
    for frame in system.frames:
        if frame.name.isdigit():
            moved = np.abs(frames["rattled0"].positions - frame.atoms.positions)
            assert (moved.max(axis=1) > 0).all()


def test_they_are_drawn_by_the_seed_and_leave_the_system_alone(system):
    attempt = int(system.sid.rpartition("-")[2])
    again = make_system(split_plan("train"), 0, attempt, SEED, frames=True)
    for one, other in zip(system.frames, again.frames, strict=True):
        assert one.name == other.name
        np.testing.assert_array_equal(one.atoms.positions, other.atoms.positions)
    bare = make_system(split_plan("train"), 0, attempt, SEED)
    assert bare.energy == system.energy
    assert bare.frames == ()


def test_rattling_moves_atoms_by_what_it_is_told():
    atoms = bulk("Cu", cubic=True) * 5
    moved = rattled(atoms, (0.05, 0.05), np.random.default_rng(0))
    assert np.std(moved.positions - atoms.positions) == pytest.approx(0.05, rel=0.1)


def test_crystals_have_the_metals_of_the_slab_and_no_other_atoms():
    symbols = ["Cu"] * 30 + ["Au"] * 10 + ["C", "O"]
    atoms = crystal(symbols, np.random.default_rng(0))
    assert len(atoms) == 4 * CUBES**3
    assert set(atoms.symbols) == {"Cu", "Au"}
    assert set(atoms.symbols) < set(METALS)
    frame = frame_of("bulk", atoms)
    assert np.isfinite(frame.energy)
    assert np.abs(frame.forces).max() > 0.1
