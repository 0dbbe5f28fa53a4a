"""Structures and options that the calculator refuses, or warns of."""

import warnings

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

import molflt
from molflt.data.labels.electrons import refuse_charge_and_spin
from molflt.errors import InputError, UsageError
from tests.builders import model_of_kinds, oblique_copper
from tests.calculator.systems import water
from tests.running import python


def test_unknown_species_are_named_also_when_asked_twice():
    atoms = water()
    calculator = molflt.FLTCalculator(model_of_kinds("potential"))
    atoms.calc = calculator
    assert np.isfinite(atoms.get_potential_energy())
    ammonia = molecule("NH3")
    ammonia.calc = calculator
    for _ in range(2):
        with pytest.raises(InputError, match="has N"):
            ammonia.get_potential_energy()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a.info.update(charge=-1), "the charge -1"),
        (lambda a: a.info.update(key_value_pairs={"total_charge": 2.0}), "charge 2"),
        (lambda a: a.info.update(spin=3), "multiplicity 3"),
        (lambda a: a.set_initial_charges([1, 0, 0]), "charge 1 .*initial charges"),
        (lambda a: a.set_initial_magnetic_moments([0, 0, 2]), "magnetic moment 2"),
    ],
)
def test_charge_and_spin_are_refused(change, words):
    atoms = water()
    atoms.calc = molflt.FLTCalculator(model_of_kinds("potential"))
    before = atoms.get_potential_energy()
    change(atoms)
    for _ in range(2):
        with pytest.raises(InputError, match=words):
            atoms.get_potential_energy()
    neutral = water()
    neutral.info |= {"charge": 0, "spin": 1, "total_spin": 0}
    neutral.set_initial_charges([-0.8, 0.4, 0.4])
    neutral.calc = atoms.calc
    assert neutral.get_potential_energy() == before


def test_starting_moments_of_a_metal_are_no_spin_state():
    iron = bulk("Fe")
    assert iron.get_initial_magnetic_moments().any()
    refuse_charge_and_spin(iron)
    iron.info["spin"] = 3
    with pytest.raises(InputError, match="multiplicity 3"):
        refuse_charge_and_spin(iron)


@pytest.mark.parametrize("shared", [True, False], ids=["one calculator", "a new one"])
@pytest.mark.parametrize("moved", [True, False], ids=["moved", "another"])
def test_collapsed_atoms_are_seen_whatever_came_before(shared, moved):
    calculator = molflt.FLTCalculator("emt-forces")
    atoms = bulk("Cu", a=3.65, cubic=True)
    atoms.calc = calculator
    atoms.get_potential_energy()

    def collapsed(gap):
        other = atoms if moved else atoms.copy()
        other.positions[1] = other.positions[0] + [gap, 0, 0]
        other.calc = calculator if shared else molflt.FLTCalculator("emt-forces")
        return other

    with pytest.warns(UserWarning, match="structure Cu4 has atoms closer") as found:
        collapsed(0.5).get_potential_energy()
    assert [warning.filename for warning in found] == [__file__]
    with pytest.raises(
        InputError, match=r"atoms 0 \(Cu\) and 1 \(Cu\) are at one place"
    ):
        collapsed(0.0).get_forces()
    atoms.positions[1] = atoms.positions[0] + [0, 1.825, 1.825]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        atoms.get_potential_energy()
    with pytest.warns(UserWarning, match="structure Cu4 has atoms closer"):
        collapsed(0.5).get_potential_energy()  # again, not still


def test_what_training_has_not_seen_is_said_once():
    model = model_of_kinds("potential")
    statistics = {**model.statistics["e0"], "pbc_seen": [[False] * 3]}
    model.set_statistics("e0", statistics)
    calculator = molflt.FLTCalculator(model)
    atoms = oblique_copper()
    atoms.calc = calculator
    with pytest.warns(UserWarning, match="pbc T T T, the training set only F F F"):
        atoms.get_potential_energy()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        atoms.rattle(0.01)
        atoms.get_potential_energy()
    model.statistics.clear()
    with pytest.warns(UserWarning, match="no summary of its training set"):
        molflt.FLTCalculator(model)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"device": "gpu"}, "The device gpu cannot be used"),
        ({"dtype": "float16"}, "dtype must be float32 or float64, not float16"),
        ({"dtype": torch.int64}, "dtype must be float32 or float64"),
    ],
)
def test_senseless_devices_and_precisions(options, words):
    with pytest.raises(UsageError, match=words):
        molflt.FLTCalculator(model_of_kinds("potential"), **options)


def test_devices_and_precisions_by_name():
    first = molflt.FLTCalculator(model_of_kinds("potential"), dtype=torch.float64)
    other = molflt.FLTCalculator(model_of_kinds("potential"), "auto", "float64")
    atoms = water()
    energies = [first.get_potential_energy(atoms), other.get_potential_energy(atoms)]
    assert energies[0] == pytest.approx(energies[1], abs=1e-9)
    assert other.model.encoder.norm.weight.dtype == torch.float64


def test_what_is_no_list_of_structures_is_said():
    model = model_of_kinds("potential")
    with pytest.raises(UsageError, match=r"write predict\(\[atoms\]\)"):
        model.predict(water())
    with pytest.raises(UsageError, match=r"Structure 1 is no ase\.Atoms but str"):
        model.predict([water(), "water.xyz"])


def test_a_calculator_without_a_structure_says_so():
    calculator = molflt.FLTCalculator(model_of_kinds("potential"))
    with pytest.raises(UsageError, match="no structure yet"):
        calculator.get_property("energy")
    calculator.get_property("energy", water())
    calculator.reset()
    with pytest.raises(UsageError, match="no structure yet"):
        calculator.get_property("energy")


def test_an_option_that_does_not_exist_is_refused():
    model = model_of_kinds("potential")
    with pytest.raises(TypeError, match="dytpe"):
        molflt.FLTCalculator(model, dytpe="float64")
    with pytest.raises(UsageError, match="no rule 'foo' for tags; there are oc20"):
        molflt.FLTCalculator(model, tags="foo")


def test_a_calculator_loads_no_chemistry_that_it_does_not_need():
    done = python(
        *("-c", "import sys, molflt.calculator; print({'rdkit'} & {*sys.modules})")
    )
    assert done.stdout.strip() == "set()", done.stderr
