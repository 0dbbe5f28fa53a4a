"""Energies, forces and stress in ASE: values, units and symmetries."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, make_supercell
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.constraints import FixAtoms

import molflt
from molflt.data.molecule import atoms_to_graph
from molflt.model import FLTEncoder
from tests.builders import PATTERNS, model_of_kinds, oblique_copper
from tests.calculator.systems import NEAR, by_system, forces_of, slab, water


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
