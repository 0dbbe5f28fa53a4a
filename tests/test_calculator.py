import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import add_adsorbate, fcc111, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces

import molflt
from molflt.errors import InputError, UsageError
from molflt.model import FLTEncoder, FLTModel
from molflt.targets import TargetSpec


def make_model(*kinds: str, elements=(1, 8, 29)) -> FLTModel:
    encoder = FLTEncoder(width=16, num_layers=1, num_near_heads=2, num_far_heads=1)
    model = FLTModel(
        encoder, [TargetSpec(f"e{i}", kind=k) for i, k in enumerate(kinds)]
    )
    for spec in model.targets:
        reference = {z: -10.0 * z for z in elements}
        statistics = {"element_reference": reference, "mean": 0.0, "std": 2.0}
        model.set_statistics(spec.name, statistics | {"elements": list(elements)})
    return model.eval()


@pytest.fixture
def slab() -> Atoms:
    atoms = fcc111("Cu", (2, 2, 2), vacuum=6.0)
    add_adsorbate(atoms, "O", 1.3, "fcc")
    atoms.rattle(0.05, seed=0)
    return atoms


def test_forces_are_minus_the_gradient(slab):
    slab.calc = molflt.FLTCalculator(make_model("potential"), dtype=torch.float64)
    numerical = calculate_numerical_forces(slab, eps=1e-4, iatoms=[0, 8])
    assert np.abs(slab.get_forces()).max() > 1e-3
    np.testing.assert_allclose(slab.get_forces()[[0, 8]], numerical, atol=1e-6)


def test_energy_equals_predict_and_is_read_from_a_file(slab, tmp_path):
    model = make_model("potential")
    molflt.save_model(model, tmp_path / "model.ckpt")
    expected = model.predict([slab])["e0"][0]
    slab.calc = molflt.FLTCalculator(tmp_path / "model.ckpt")
    assert slab.get_potential_energy() == pytest.approx(expected, rel=1e-9)
    assert slab.get_potential_energy(force_consistent=True) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["relaxed", "property"])
def test_no_forces_where_there_is_no_potential(kind, slab):
    slab.calc = molflt.FLTCalculator(make_model(kind))
    assert np.isfinite(slab.get_potential_energy())
    assert slab.calc.implemented_properties == ["energy", "free_energy"]
    with pytest.raises(PropertyNotImplementedError, match="has no forces"):
        slab.get_forces()
    # Other instances are not affected.
    other = molflt.FLTCalculator(make_model("potential"))
    assert "forces" in other.implemented_properties


def test_stress_is_refused(slab):
    slab.calc = molflt.FLTCalculator(make_model("potential"))
    with pytest.raises(PropertyNotImplementedError, match="has no stress"):
        slab.get_stress()


def test_changed_tags_are_a_changed_structure():
    model = make_model("potential")
    atoms = molecule("H2O")
    atoms.calc = molflt.FLTCalculator(model, tags="oc20")
    first = atoms.get_potential_energy()
    atoms.set_tags([2, 2, 2])
    assert atoms.get_potential_energy() != first


def test_unknown_species_are_named():
    atoms = molecule("NH3")
    atoms.calc = molflt.FLTCalculator(make_model("potential"))
    with pytest.raises(InputError, match="has N"):
        atoms.get_potential_energy()


def test_several_targets_need_a_choice():
    model = make_model("potential", "relaxed")
    with pytest.raises(UsageError, match="e0, e1"):
        molflt.FLTCalculator(model)
    assert molflt.FLTCalculator(model, target="e1").spec.name == "e1"
