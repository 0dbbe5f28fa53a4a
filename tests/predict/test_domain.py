"""Structures unlike those of the training set: tags, boundary conditions."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

import molflt
from molflt.cli import main
from molflt.data.emt.generate import ADSORPTION_ENERGY
from molflt.data.lmdb.store import write_lmdb
from molflt.data.molecule import atoms_to_graph
from molflt.data.system import system_arrays
from molflt.domain import Domain
from molflt.predict import predict_files
from molflt.targets import TargetSpec
from tests.builders import copper_slab, model_of
from tests.predict.tables import read_csv


def test_boundary_conditions_that_training_had_not_are_told_of_files(folder, capsys):
    ase.io.write("crystal.traj", [bulk("Cu"), copper_slab()])
    assert main(["predict", "model.ckpt", "crystal.traj", "-o", "out.csv"]) == 0
    printed = capsys.readouterr().err
    assert "pbc T T T, which the training set has not\n" in printed
    assert "pbc T T F\n" in printed


def test_structures_larger_than_all_of_training_are_told(folder, capsys):
    words = ["predict", "known.ckpt", "many.traj", "one.xyz", "-o", "out.csv"]
    for most, expected in (
        (3, "2 of more than 3 atoms"),  # CH4, NH3
        (5, ""),
        (None, ""),  # a checkpoint that does not say
    ):
        known = {} if most is None else {"num_atoms_max": most}
        molflt.save_model(known_model(**known), "known.ckpt")
        assert main(words) == 0
        printed = capsys.readouterr().err
        assert (
            expected in printed
            if expected
            else "the training set's most" not in printed
        )


def known_model(**facts):
    model = model_of()
    model.set_statistics("energy", model.statistics["energy"] | facts)
    return model


def test_molecules_smaller_than_all_of_training_and_radicals_are_told(folder, capsys):
    methyl, methane = molecule("CH3"), molecule("CH4")
    methyl.set_initial_magnetic_moments(None)
    crystal = bulk("Cu")  # 29 electrons, and no size
    ase.io.write("small.traj", [methyl, methane, crystal])
    for facts, expected in (
        ({"num_atoms_min": 5}, {"fewer atoms", "odd number of electrons"}),
        ({"num_atoms_min": 4, "odd_electrons_seen": True}, set()),
        ({}, {"odd number of electrons"}),  # an older checkpoint does not say
    ):
        molflt.save_model(known_model(**facts), "known.ckpt")
        assert main(["predict", "known.ckpt", "small.traj", "-o", "out.csv"]) == 0
        printed = capsys.readouterr().err
        for words in ("fewer atoms", "odd number of electrons"):
            told = f"warning: 1 structures have {words}" in printed.replace(" an ", " ")
            assert told == (words in expected), (facts, words)


def test_a_calculator_and_predict_tell_of_radicals(folder):
    model = known_model(num_atoms_min=5)
    methyl = molecule("CH3")
    methyl.set_initial_magnetic_moments(None)
    words = ("fewer atoms than any", "an odd number of electrons")
    with pytest.warns(UserWarning, match="such as number 1, have") as found:
        model.predict([molecule("CH4"), methyl])
    assert [any(w in str(each.message) for each in found) for w in words] == [True] * 2
    methyl.calc = molflt.FLTCalculator(model)
    with pytest.warns(UserWarning, match="The structure CH3 has") as found:
        methyl.get_potential_energy()
    assert [any(w in str(each.message) for each in found) for w in words] == [True] * 2


@pytest.mark.parametrize(
    ("formula", "elements", "told"),
    [
        ("C6O", [1, 6, 8], True),  # the heavy atoms of phenol
        ("C6OH6", [1, 6, 8], False),
        ("C6O", [6, 8], False),  # trained on molecules without hydrogen
        ("CO2", [1, 6, 8], False),
        ("C2Cl4", [1, 6, 17], False),
        ("Cu6CO", [1, 6, 8, 29], False),
    ],
)
def test_molecules_that_lack_their_hydrogens_are_told(formula, elements, told):
    atoms = Atoms(formula)
    atoms.positions[:, 0] = 2 * np.arange(len(atoms))
    system = system_arrays(atoms.numbers, atoms.positions)
    remarks = Domain([known_model(elements=elements)]).remarks(system)
    assert any("no hydrogen at all" in remark for remark in remarks) == told
    atoms.set_cell([40, 40, 40])  # a crystal is no molecule
    system = system_arrays(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    remarks = Domain([known_model(elements=elements)]).remarks(system)
    assert not any("no hydrogen at all" in remark for remark in remarks)


def test_tags_of_ase_and_of_oc20_give_one_energy(folder):
    """Layers counted by ase.build and the same slab in OC20's tags."""
    layers = copper_slab()
    oc20 = layers.copy()
    oc20.set_tags([0] * 4 + [0] * 4 + [1] * 4 + [2])
    assert sorted(set(layers.get_tags())) == [0, 1, 2, 3]
    ase.io.write("layers.traj", layers)
    ase.io.write("oc20.traj", oc20)
    energies = {}
    for name, rules in (("layers", ("auto", "ase")), ("oc20", ("auto", "oc20"))):
        for rule in rules:
            out = f"{name}-{rule}.csv"
            words = [f"{name}.traj", "-o", out, "--tags", rule]
            assert main(["predict", "model.ckpt", *words]) == 0
            energies[name, rule] = float(read_csv(out)[0]["predicted_energy [eV]"])
    assert max(energies.values()) - min(energies.values()) < 1e-9
    assert (
        main(["predict", "model.ckpt", "oc20.traj", "-o", "x.csv", "--tags=none"]) == 0
    )
    without = float(read_csv("x.csv")[0]["predicted_energy [eV]"])
    assert abs(without - energies["oc20", "auto"]) > 1e-6
    # The wrong convention is an error that names the tags.
    assert main(["predict", "model.ckpt", "layers.traj", "--tags=oc20"]) == 1


def tagged_model(tags_seen):
    model = model_of(TargetSpec("energy"))
    model.set_statistics(
        "energy", model.statistics["energy"] | {"tags_seen": tags_seen}
    )
    return model


def test_tags_are_not_read_for_a_model_that_was_shown_none(folder, capsys):
    model = tagged_model([-1])
    molflt.save_model(model, "untagged.ckpt")
    bare = copper_slab()
    bare.set_tags(0)
    (expected,) = model.predict([bare])["energy"]
    assert model.predict([copper_slab()])["energy"][0] == pytest.approx(
        expected, abs=1e-6
    )
    atoms = copper_slab()
    atoms.calc = molflt.FLTCalculator(model)
    assert atoms.get_potential_energy() == pytest.approx(expected, abs=1e-5)
    assert main(["predict", "untagged.ckpt", "slab.traj", "-o", "x.csv"]) == 0
    (row,) = read_csv("x.csv")
    assert float(row["predicted_energy [eV]"]) == pytest.approx(expected, abs=1e-5)
    assert "tags are not used" in capsys.readouterr().err
    # Who asks for tags gets them.
    assert main(["predict", "untagged.ckpt", "slab.traj", "-o", "x", "--tags=ase"]) == 2
    words = ["untagged.ckpt", "slab.traj", "-o", "y.csv", "--tags=ase"]
    assert main(["predict", *words]) == 0
    other = float(read_csv("y.csv")[0]["predicted_energy [eV]"])
    assert abs(other - expected) > 1e-4


def test_missing_tags_are_told_to_users_of_a_model_that_was_shown_all(folder, capsys):
    model = tagged_model([0, 1, 2])
    molflt.save_model(model, "tagged.ckpt")
    bare = copper_slab()
    bare.set_tags(0)
    ase.io.write("bare.traj", [bare, copper_slab()])
    with pytest.warns(UserWarning, match="1 structures, such as number 1, have no tag"):
        model.predict([copper_slab(), bare])
    bare.calc = molflt.FLTCalculator(model)
    with pytest.warns(UserWarning, match="has no tags, unlike all of the tr"):
        bare.get_potential_energy()
    assert main(["predict", "tagged.ckpt", "bare.traj", "-o", "x.csv"]) == 0
    lines = capsys.readouterr().err.splitlines()
    told = [line for line in lines if "unlike all of the training set" in line]
    assert len(told) == 1
    assert told[0].startswith("1 structures: no tags")


def test_boundary_conditions_that_training_had_not_are_told():
    crystal = bulk("Cu")
    told = "2 structures, such as number 1, have pbc T T T, the training set only F F F"
    with pytest.warns(UserWarning, match=told) as found:
        model_of().predict([copper_slab(), crystal, crystal])
    assert found[0].filename == __file__  # the line to look at is the caller's


def test_a_record_outside_of_the_training_set_is_named_once(folder):
    gold = atoms_to_graph(Atoms("Au"), sid="a", targets={"energy": 1.0})
    write_lmdb("gold.lmdb", [gold], targets=[ADSORPTION_ENERGY])
    (error,) = predict_files(molflt.load("model.ckpt"), ["gold.lmdb"])
    assert str(error).startswith("gold.lmdb, record 0 has Au, which the model was not")


def test_atoms_in_each_other_are_told(folder, capsys):
    apart, close = molecule("H2O"), molecule("H2O")
    close.positions[1] = close.positions[0] + 0.2
    ase.io.write("two.xyz", [apart, close])
    assert main(["predict", "model.ckpt", "two.xyz", "-o", "OUT.CSV"]) == 0
    told = "warning: 1 structures have atoms closer to each other than bonds are"
    assert told in capsys.readouterr().err
    assert len(read_csv("OUT.CSV")) == 2
    with pytest.warns(UserWarning, match="atoms closer to each other"):
        molflt.load("model.ckpt").predict([close])
