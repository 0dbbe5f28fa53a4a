"""What a checkpoint has, and ensembles of checkpoints."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import Bohr, Debye
from ase.units import kcal as ASE_KCAL
from ase.units import mol as ASE_MOL

import molflt
from molflt.energy_target import potential_of
from molflt.errors import InputError, UsageError
from molflt.targets import TargetSpec
from tests.builders import model_of_kinds
from tests.calculator.systems import slab, water


@pytest.mark.parametrize("kind", ["relaxed", "property"])
def test_no_forces_where_there_is_no_potential(kind):
    atoms = slab()
    atoms.calc = molflt.FLTCalculator(model_of_kinds(kind), target="e0")
    assert np.isfinite(atoms.get_potential_energy())
    assert atoms.calc.implemented_properties == ["energy", "e0"]
    for ask in (atoms.get_forces, atoms.get_stress):
        with pytest.raises(
            PropertyNotImplementedError, match=r"which is no|that is no"
        ):
            ask()
    # Other instances are not affected.
    other = molflt.FLTCalculator(model_of_kinds("potential"))
    assert {"forces", "stress", "energies"} < set(other.implemented_properties)


def test_a_property_is_no_energy_unless_one_says_so():
    atoms = water()
    atoms.calc = molflt.FLTCalculator(model_of_kinds("property"))
    assert atoms.calc.implemented_properties == ["e0"]
    assert np.isfinite(atoms.calc.get_property("e0", atoms))
    with pytest.raises(PropertyNotImplementedError, match="target= chooses"):
        atoms.get_potential_energy()


def test_other_targets_come_in_ases_units():
    specs = [
        TargetSpec("mu", "D", "property", extensive=False, readout="dipole"),
        TargetSpec("alpha", "a0^3", "property", readout="polarisability"),
        TargetSpec("homo", "eV", "property", extensive=False),
        TargetSpec("cv", "cal/mol/K", "property"),
        TargetSpec("madeup", "furlong", "property"),
    ]
    model = model_of_kinds("potential", targets=specs)
    atoms = water()
    atoms.calc = molflt.FLTCalculator(model)
    raw = {name: value[0] for name, value in model.predict([atoms]).items()}
    factors = {"mu": Debye, "alpha": Bohr**3, "homo": 1, "madeup": 1}
    factors["cv"] = 1e-3 * ASE_KCAL / ASE_MOL
    for name, factor in factors.items():
        value = atoms.calc.get_property(name, atoms)
        assert value == pytest.approx(raw[name] * factor, rel=1e-5)
    vector = atoms.get_dipole_moment()
    assert vector.shape == (3,)
    assert np.linalg.norm(vector) == pytest.approx(raw["mu"] * Debye, rel=1e-5)
    assert atoms.calc.units == {
        **{"e0": "eV", "mu": "e A", "alpha": "A^3", "homo": "eV"},
        **{"cv": "eV/K", "madeup": "furlong"},
    }
    # What is not defined for a periodic system leaves the rest alone.
    periodic = slab()
    periodic.calc = atoms.calc
    assert np.isfinite(periodic.get_potential_energy())
    assert np.isfinite(periodic.calc.get_property("homo", periodic))
    with pytest.raises(InputError, match="dipole moment of a periodic"):
        periodic.get_dipole_moment()


def test_several_energies_need_a_choice():
    model = model_of_kinds("potential", "potential")
    with pytest.raises(UsageError, match="e0, e1"):
        molflt.FLTCalculator(model)
    assert molflt.FLTCalculator(model, target="e1").spec.name == "e1"
    # The potential is what ASE means, beside a relaxed energy.
    model = model_of_kinds("relaxed", "potential")
    assert molflt.FLTCalculator(model).spec.name == "e1"
    with pytest.raises(UsageError, match="not 'e2'"):
        molflt.FLTCalculator(model, target="e2")


def test_a_potential_in_another_unit_has_forces_in_ases():
    """The same numbers in kcal/mol; energy, shares, forces and stress are all in eV."""
    atoms, factor = slab(), ASE_KCAL / ASE_MOL
    expected = molflt.FLTCalculator(model_of_kinds("potential"))
    model = model_of_kinds("potential")
    model.targets = (replace(model.targets[0], unit="kcal/mol"),)
    found = molflt.FLTCalculator(model)
    for name in ("energy", "free_energy", "e0", "energies", "forces", "stress"):
        one, two = (calc.get_property(name, atoms) for calc in (found, expected))
        assert one == pytest.approx(factor * two, rel=1e-6)
    with pytest.raises(UsageError, match="in eV, and 'e0' is in kcal/mol"):
        potential_of(model.targets, "A relaxation")


def test_ensembles_give_means_and_deviations(tmp_path):
    models = [model_of_kinds("potential", seed=seed) for seed in range(3)]
    paths = [tmp_path / f"{seed}.ckpt" for seed in range(3)]
    for model, path in zip(models, paths, strict=True):
        molflt.save_model(model, path)
    atoms = slab()
    alone = [molflt.FLTCalculator(model) for model in models]
    energies = [c.get_property("energy", atoms) for c in alone]
    forces = np.stack([c.get_property("forces", atoms) for c in alone])
    atoms.calc = molflt.FLTCalculator([paths[0], str(paths[1]), models[2]])
    assert {"energy_std", "forces_std"} < set(atoms.calc.implemented_properties)
    np.testing.assert_allclose(atoms.get_forces(), forces.mean(0), atol=1e-6)
    assert atoms.get_potential_energy() == pytest.approx(np.mean(energies), rel=1e-7)
    results = atoms.calc.others
    assert results["energy_std"] == pytest.approx(np.std(energies, ddof=1), rel=1e-4)
    np.testing.assert_allclose(results["forces_std"], forces.std(0, ddof=1), atol=1e-5)
    assert atoms.calc.get_property("energy_std") == results["energy_std"]
    stress_std = atoms.calc.get_property("stress_std", atoms)
    assert stress_std.shape == (6,)
    assert (stress_std > 0).all()
    with pytest.raises(PropertyNotImplementedError):
        alone[0].get_property("energy_std", atoms)
    # What ASE's own functions take.
    found = atoms.get_properties(["energy", "forces"])
    np.testing.assert_array_equal(found["forces"], atoms.get_forces())
    kept = SinglePointCalculator(atoms, **atoms.calc.results)
    assert kept.get_potential_energy() == atoms.get_potential_energy()


def test_targets_that_ase_does_not_know_do_not_disturb_it():
    gap = TargetSpec("gap", kind="property", extensive=False)
    model = model_of_kinds("relaxed", targets=[gap])
    atoms = water()
    atoms.calc = molflt.FLTCalculator(model)
    gap = atoms.calc.get_property("gap", atoms)
    assert atoms.calc.get_property("gap", atoms, allow_calculation=False) == gap
    energy = atoms.get_potential_energy()
    assert atoms.calc.others == {"gap": gap, "e0": energy}
    assert atoms.get_properties(["energy"])["energy"] == energy
    atoms.positions[0] += 0.1
    assert atoms.calc.get_property("gap", atoms, allow_calculation=False) is None
    assert atoms.calc.get_property("gap", atoms) != gap


def test_a_target_that_fails_leaves_an_ensemble_its_energy():
    """A dipole moment once asked for is not defined for a crystal that comes next."""
    dipole = TargetSpec("mu", "D", "property", extensive=False, readout="dipole")
    models = [model_of_kinds("potential", seed=s, targets=[dipole]) for s in (0, 1)]
    calculator = molflt.FLTCalculator(models, target="e0")
    water = molecule("H2O")
    water.calc = calculator
    assert np.isfinite(water.get_dipole_moment()).all()
    crystal = water.copy()
    crystal.cell, crystal.pbc, crystal.calc = [8, 8, 8], True, calculator
    assert np.isfinite(crystal.get_potential_energy())
    with pytest.raises(InputError):
        crystal.get_dipole_moment()


def test_ensembles_of_different_targets_are_refused():
    with pytest.raises(UsageError, match=r"targets; a model \(e0 eV relaxed\)"):
        molflt.FLTCalculator([model_of_kinds("potential"), model_of_kinds("relaxed")])
    with pytest.raises(UsageError, match="no model"):
        molflt.FLTCalculator([])


def test_an_ensemble_says_that_two_of_its_models_are_one(tmp_path):
    one, two = (model_of_kinds("potential", seed=seed) for seed in range(2))
    for path in ("a.ckpt", "b.ckpt"):
        molflt.save_model(one, tmp_path / path)
    paths = [tmp_path / "a.ckpt", two, tmp_path / "b.ckpt"]
    with pytest.warns(UserWarning, match=r"a\.ckpt and .*b\.ckpt have the same"):
        molflt.FLTCalculator(paths)
