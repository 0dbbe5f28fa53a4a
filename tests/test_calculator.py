"""Checkpoints in ASE: units, laws, refusals, and what a checkpoint truly has."""

import warnings

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, make_supercell, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.constraints import FixAtoms
from ase.units import Bohr, Debye
from ase.units import kcal as ASE_KCAL
from ase.units import mol as ASE_MOL

import molflt
from molflt.data.electrons import refuse_charge_and_spin
from molflt.data.molecule import atoms_to_graph
from molflt.errors import InputError, UsageError
from molflt.model import FLTEncoder
from molflt.targets import TargetSpec
from tests.builders import PATTERNS, model_of_kinds, oblique_copper

NEAR = {"num_far_heads": 0}


def slab() -> Atoms:
    atoms = fcc111("Cu", (2, 2, 2), vacuum=6.0)
    add_adsorbate(atoms, "O", 1.3, "fcc")
    atoms.rattle(0.05, seed=0)
    return atoms


def water() -> Atoms:
    return molecule("H2O")


SYSTEMS = {"molecule": water, "slab": slab, "crystal": oblique_copper}
by_system = pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)


def forces_of(atoms, *arguments, **options):
    atoms = atoms.copy()
    atoms.calc = molflt.FLTCalculator(*arguments, **options)
    return atoms.get_forces()


@by_system
def test_forces_are_central_differences(system):
    """Near heads, where the energy is exact: to 1e-7 eV/Å with steps of 1e-5 Å."""
    atoms, model = system(), model_of_kinds("potential", options=NEAR)
    # Offsets of 3,000 eV would leave the differences fewer digits.
    model.set_statistics(
        "e0", {**model.statistics["e0"], "element_reference": {}, "std": 1.0}
    )
    atoms.calc = molflt.FLTCalculator(model, dtype=torch.float64)
    forces = atoms.get_forces()
    assert np.abs(forces).max() > 1e-3
    numerical = calculate_numerical_forces(atoms, eps=1e-5)
    np.testing.assert_allclose(forces, numerical, rtol=0, atol=1e-7)


@pytest.mark.parametrize("system", [slab, oblique_copper], ids=["slab", "crystal"])
def test_stress_is_ases_numerical_stress(system):
    atoms, model = system(), model_of_kinds("potential", options=NEAR)
    model.set_statistics(
        "e0", {**model.statistics["e0"], "element_reference": {}, "std": 1.0}
    )
    atoms.calc = molflt.FLTCalculator(model, dtype=torch.float64)
    stress = atoms.get_stress()
    assert stress.shape == (6,)
    numerical = calculate_numerical_stress(atoms, eps=1e-5)
    assert np.abs(stress).max() > 1e-5
    np.testing.assert_allclose(stress, numerical, rtol=0, atol=1e-7)
    matrix = atoms.get_stress(voigt=False)
    np.testing.assert_allclose(matrix, matrix.T)


@by_system
def test_single_precision_forces_are_close(system):
    model = model_of_kinds("potential")
    wide = forces_of(system(), model, dtype=torch.float64)
    narrow = forces_of(system(), model, dtype=torch.float32)
    assert np.abs(wide).max() > 0.01
    np.testing.assert_allclose(narrow, wide, rtol=0, atol=1e-4)


def test_energies_are_those_of_predict_and_of_a_file(tmp_path):
    atoms, model = slab(), model_of_kinds("potential")
    molflt.save_model(model, tmp_path / "model.ckpt")
    expected = model.predict([atoms])["e0"][0]
    atoms.calc = molflt.FLTCalculator(tmp_path / "model.ckpt")
    assert atoms.get_potential_energy() == pytest.approx(expected, rel=1e-9)
    assert atoms.get_potential_energy(force_consistent=True) == pytest.approx(expected)
    shares = atoms.get_potential_energies()
    assert shares.shape == (9,)
    assert shares.sum() == pytest.approx(expected, rel=1e-9)
    expected = model.energy_and_forces(atoms_to_graph(atoms, tags="auto"), stress=True)
    np.testing.assert_allclose(atoms.get_forces(), expected.forces, atol=1e-6)
    matrix = atoms.get_stress(voigt=False)
    np.testing.assert_allclose(matrix, expected.stress[0], atol=1e-7)


def test_the_callers_model_is_left_as_it_was():
    model = model_of_kinds("potential").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    calculator = molflt.FLTCalculator(model, dtype=torch.float64)
    assert next(calculator.model.encoder.parameters()).dtype == torch.float64
    assert model.training
    assert all(p.requires_grad for p in model.parameters() if p.dim())
    for name, value in model.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])


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


def test_stress_needs_a_cell():
    atoms = water()
    atoms.calc = molflt.FLTCalculator(model_of_kinds("potential"))
    with pytest.raises(PropertyNotImplementedError, match="periodic cell"):
        atoms.get_stress()
    assert np.isfinite(atoms.get_forces()).all()


def test_a_single_atom_feels_nothing():
    atoms = Atoms("O", constraint=[FixAtoms([])])
    atoms.calc = molflt.FLTCalculator(model_of_kinds("potential"))
    assert np.isfinite(atoms.get_potential_energy())
    np.testing.assert_array_equal(atoms.get_forces(), np.zeros((1, 3)))


@pytest.mark.parametrize("pbc", PATTERNS, ids=str)
def test_any_boundary_conditions_and_wrapping(pbc):
    atoms = oblique_copper() * (1, 2, 2)
    atoms.pbc = pbc
    atoms.calc = molflt.FLTCalculator(model_of_kinds("potential"), dtype=torch.float64)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    steps = np.random.default_rng(0).integers(-2, 3, (len(atoms), 3)) * np.array(pbc)
    atoms.positions += steps @ np.asarray(atoms.cell)
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-6)
    np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-5)


def test_supercells_and_equivalent_cells():
    atoms = oblique_copper()
    calculator = molflt.FLTCalculator(model_of_kinds("potential"), dtype=torch.float64)
    atoms.calc = calculator
    energy, stress = atoms.get_potential_energy(), atoms.get_stress()
    double = atoms * (2, 1, 2)
    double.calc = calculator
    assert double.get_potential_energy() == pytest.approx(4 * energy, abs=1e-5)
    np.testing.assert_allclose(double.get_stress(), stress, atol=1e-6)
    other = make_supercell(atoms, [[1, 0, 0], [1, 1, 0], [0, -1, 1]], wrap=False)
    other.calc = calculator
    assert other.get_potential_energy() == pytest.approx(energy, abs=1e-6)


def test_changed_tags_are_a_changed_structure():
    atoms = water()
    atoms.calc = molflt.FLTCalculator(model_of_kinds("potential"), tags="oc20")
    first = atoms.get_potential_energy()
    atoms.set_tags([2, 2, 2])
    assert atoms.get_potential_energy() != first


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


def test_lists_of_neighbours_that_are_kept_change_nothing():
    """A walk with moved and wrapped atoms, another cell and another structure."""
    model = model_of_kinds("potential", options=NEAR)
    calculator = molflt.FLTCalculator(model, dtype=torch.float64)
    model = calculator.model
    atoms = bulk("Cu", "fcc", 3.7, cubic=True) * (4, 4, 3)
    atoms.calc = calculator
    rng = np.random.default_rng(0)
    searches = []
    for step in range(12):
        atoms.positions += rng.normal(scale=0.02, size=atoms.positions.shape)
        if step == 5:
            atoms.wrap()
        if step == 8:
            atoms.set_cell(1.01 * atoms.cell, scale_atoms=True)
        if step == 10:
            atoms.pbc = [True, True, False]
        expected = model.energy_and_forces(atoms_to_graph(atoms))
        np.testing.assert_allclose(atoms.get_forces(), expected.forces, atol=1e-9)
        energy = expected.energy.item()
        assert atoms.get_potential_energy() == pytest.approx(energy, rel=1e-12)
        searches.append(calculator.ensemble._skins[0].num_searches)
    assert searches[4] < 5  # the list was used again,
    assert searches[5] > searches[4]  # but not after a jump across the cell,
    assert searches[8] > searches[7]  # nor in another cell,
    assert searches[10] > searches[9]  # nor with other boundaries.


def test_nothing_is_computed_twice(monkeypatch):
    atoms = slab()
    atoms.calc = molflt.FLTCalculator(model_of_kinds("potential"))
    atoms.get_stress()
    atoms.rattle(0.01)
    calls = []
    forward = FLTEncoder.forward

    def counted(self, *args, **options):
        calls.append(1)
        return forward(self, *args, **options)

    monkeypatch.setattr(FLTEncoder, "forward", counted)
    atoms.get_forces()
    atoms.get_stress()
    atoms.get_potential_energy()
    assert len(calls) == 1


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
    results = atoms.calc.results
    assert results["energy_std"] == pytest.approx(np.std(energies, ddof=1), rel=1e-4)
    np.testing.assert_allclose(results["forces_std"], forces.std(0, ddof=1), atol=1e-5)
    stress_std = atoms.calc.get_property("stress_std", atoms)
    assert stress_std.shape == (6,)
    assert (stress_std > 0).all()
    with pytest.raises(PropertyNotImplementedError):
        alone[0].get_property("energy_std", atoms)


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


def test_an_option_that_does_not_exist_is_refused():
    model = model_of_kinds("potential")
    with pytest.raises(TypeError, match="dytpe"):
        molflt.FLTCalculator(model, dytpe="float64")
    with pytest.raises(UsageError, match="no rule 'foo' for tags; there are oc20"):
        molflt.FLTCalculator(model, tags="foo")
