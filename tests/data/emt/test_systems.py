import numpy as np
import pytest
from ase.formula import Formula
from ase.geometry import get_distances

from molflt.data.emt import systems as emt_systems
from molflt.data.emt.relax import relaxed_gas
from molflt.data.emt.systems import (
    ADSORBATES,
    GRID,
    PAIRS,
    SlabPlan,
    build_slab,
    draw_plan,
    on_grid,
    place,
)

SHAPES = range(len(emt_systems._SHAPES))


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("shape", SHAPES)
def test_slabs_are_periodic_in_plane_and_held_at_the_bottom(shape):
    slab = build_slab(SlabPlan(("Cu", "Au"), 0.5, False, shape), rng())
    z = slab.positions[:, 2]
    held = slab.constraints[0].index
    top = slab.get_tags() == 1
    assert slab.pbc.tolist() == [True, True, False]
    assert z[held].max() < np.delete(z, held).min()
    assert 0.25 * len(slab) < len(held) <= 0.5 * len(slab)
    assert z[top].min() > z[~top].max() + 1.0
    assert set(slab.get_tags()) == {0, 1}
    assert slab.cell[2, 2] - np.ptp(z) >= 15.0
    assert min(np.linalg.norm(slab.cell[k]) for k in (0, 1)) > 6.5


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.75])
def test_random_alloys_have_the_exact_composition(shape, fraction):
    slab = build_slab(SlabPlan(("Cu", "Au"), fraction, False, shape), rng())
    share = np.mean(slab.symbols == "Au")
    assert abs(share - fraction) <= 0.5 / len(slab)


def neighbours_of_minority(slab, minority):
    """Number of minority atoms next to each minority atom."""
    atoms = slab[slab.symbols == minority]
    _, d = get_distances(atoms.positions, cell=slab.cell, pbc=slab.pbc)
    _, whole = get_distances(slab.positions, cell=slab.cell, pbc=slab.pbc)
    nearest = np.where(whole > 0.1, whole, np.inf).min()
    return ((d > 0.1) & (d < 1.1 * nearest)).sum(1)


@pytest.mark.parametrize("shape", [3, 4, 5])
@pytest.mark.parametrize("seed", range(4))
def test_ordered_alloys_are_l12_and_l10(shape, seed):
    a3b = build_slab(SlabPlan(("Cu", "Au"), 0.25, True, shape), rng(seed))
    assert (neighbours_of_minority(a3b, "Au") == 0).all()
    assert 0.15 < np.mean(a3b.symbols == "Au") < 0.35
    ab3 = build_slab(SlabPlan(("Cu", "Au"), 0.75, True, shape), rng(seed))
    assert (neighbours_of_minority(ab3, "Cu") == 0).all()
    ab = build_slab(SlabPlan(("Cu", "Au"), 0.5, True, shape), rng(seed))
    assert neighbours_of_minority(ab, "Au").max() == 4
    assert 0.3 < np.mean(ab.symbols == "Au") < 0.7


def test_plans_keep_to_the_pairs_and_share_of_pure_slabs():
    plans = [draw_plan(rng(k), PAIRS[:2], 0.0) for k in range(40)]
    assert {plan.metals for plan in plans} == set(PAIRS[:2])
    plans = [draw_plan(rng(k), PAIRS[:2], 1.0) for k in range(40)]
    assert {len(plan.metals) for plan in plans} == {1}
    assert not any(plan.ordered for plan in plans)


def test_adsorbates_can_be_told_apart_by_their_formula():
    formulas = [str(Formula(name).format("hill")) for name in ADSORBATES]
    assert len(set(formulas)) == len(ADSORBATES)


@pytest.mark.parametrize("name", ADSORBATES)
def test_emt_keeps_the_isolated_adsorbates_whole(name):
    gas, _ = relaxed_gas(name)
    start = emt_systems.gas_molecule(name)
    if len(gas) > 1:
        change = gas.get_all_distances() - start.get_all_distances()
        assert np.abs(change).max() < 0.3


@pytest.mark.parametrize("name", ["H", "CO", "CO2", "CH4"])
@pytest.mark.parametrize("shape", SHAPES)
def test_placed_adsorbates_touch_and_do_not_overlap(name, shape):
    generator = rng(shape)
    slab = build_slab(SlabPlan(("Pd",), 0.0, False, shape), generator)
    atoms = place(slab, name, relaxed_gas(name)[0], generator)
    adsorbate = atoms.get_tags() == 2
    assert atoms.symbols[adsorbate].formula == relaxed_gas(name)[0].symbols.formula
    assert not adsorbate[: len(slab)].any()
    radii = emt_systems.covalent_radii[atoms.numbers]
    _, d = get_distances(
        atoms.positions[adsorbate],
        atoms.positions[~adsorbate],
        cell=atoms.cell,
        pbc=atoms.pbc,
    )
    contact = d / (radii[adsorbate][:, None] + radii[~adsorbate])
    assert contact.min() == pytest.approx(emt_systems.CONTACT, abs=1e-3)
    assert np.array_equal(atoms.constraints[0].index, slab.constraints[0].index)


def test_coordinates_survive_float32():
    slab = build_slab(SlabPlan(("Pd",), 0.0, False, 0), rng())
    atoms = on_grid(slab.copy())
    for values in (atoms.positions, atoms.cell.array):
        assert np.array_equal(values.astype(np.float32), values)
    assert np.abs(atoms.positions - slab.positions).max() <= GRID / 2
