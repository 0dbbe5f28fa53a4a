"""Slabs without tags get them: the adsorbate by name, the surface by height."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import (
    add_adsorbate,
    bcc110,
    fcc100,
    fcc110,
    fcc111,
    fcc211,
    hcp0001,
    molecule,
)
from ase.constraints import FixAtoms

from molflt.cli import main
from molflt.data import tag_slab
from molflt.data.tags import map_tags
from molflt.errors import InputError, UsageError

SURFACES = {
    "Cu(111)": lambda: fcc111("Cu", (2, 2, 4), vacuum=8),
    "Pd(100)": lambda: fcc100("Pd", (2, 2, 4), vacuum=8),
    "Ni(110)": lambda: fcc110("Ni", (2, 2, 4), vacuum=8),
    "Fe(110)": lambda: bcc110("Fe", (2, 2, 3), vacuum=8),
    "Ru(0001)": lambda: hcp0001("Ru", (2, 2, 3), vacuum=8),
}


def with_co(slab, height=1.9):
    """CO on a slab, tags those of ase.build, atoms a little out of place."""
    add_adsorbate(slab, molecule("CO"), height, (0.0, 0.0), mol_index=1)
    slab.rattle(0.05, seed=1)
    return slab


def bare(atoms):
    atoms = atoms.copy()
    atoms.set_tags(0)
    return atoms


@pytest.mark.parametrize("make", SURFACES.values(), ids=SURFACES)
@pytest.mark.parametrize("adsorbate", [["C", "O"], [-2, -1]], ids=["names", "numbers"])
def test_tags_are_those_of_the_layers_of_ase(make, adsorbate):
    atoms = with_co(make())
    expected, _ = map_tags(atoms, "ase")
    found = tag_slab(bare(atoms), adsorbate)
    np.testing.assert_array_equal(found.get_tags(), expected)
    assert map_tags(found)[1].startswith("OC20 tags")  # told apart without being told


@pytest.mark.parametrize("shift", [0.0, 5.0, -9.0])
def test_atoms_across_the_boundary_of_the_cell_are_one_slab(shift):
    atoms = with_co(fcc111("Cu", (2, 2, 4), vacuum=8))
    expected = tag_slab(bare(atoms), ["C", "O"]).get_tags()
    atoms.pbc = True
    atoms.positions[:, 2] += shift
    atoms.wrap()
    np.testing.assert_array_equal(tag_slab(atoms, ["C", "O"]).get_tags(), expected)


@pytest.mark.parametrize("turns", [1, 2], ids=["vacuum along a", "vacuum along b"])
@pytest.mark.parametrize("pbc", ["as it was", True])
@pytest.mark.parametrize("depth", [None, 2.0])
def test_the_vacuum_may_be_along_any_cell_vector(turns, pbc, depth):
    atoms = bare(with_co(fcc111("Cu", (2, 2, 4), vacuum=8)))
    expected = tag_slab(atoms, ["C", "O"], depth).get_tags()
    cell, periodic = np.roll(atoms.cell, turns, axis=0), np.roll(atoms.pbc, turns)
    atoms.set_cell(np.roll(cell, turns, axis=1))  # x, y, z turn with a, b, c
    atoms.positions = np.roll(atoms.positions, turns, axis=1)
    atoms.pbc = periodic if pbc == "as it was" else pbc
    tagged = tag_slab(atoms, ["C", "O"], depth)
    np.testing.assert_array_equal(tagged.get_tags(), expected)
    assert map_tags(tagged)[1].startswith("OC20 tags")
    atoms.positions *= -1  # the adsorbate below the slab
    with pytest.raises(InputError, match="upper side, where the cell vector across"):
        tag_slab(atoms, ["C", "O"], depth)


def test_depth_is_counted_from_the_highest_atom_of_the_slab():
    atoms = with_co(fcc100("Cu", (2, 2, 4), vacuum=8))  # layers 1.8 Å apart
    layers = [(tag_slab(atoms, ["C", "O"], d).get_tags() == 1).sum() for d in (1, 2.2)]
    assert layers == [4, 8]


def test_what_is_not_clear_is_asked_for():
    steps = with_co(fcc211("Au", (3, 2, 3), vacuum=8))
    with pytest.raises(InputError, match=r"no layer on top .*depth"):
        tag_slab(steps, ["C", "O"])
    assert (tag_slab(steps, ["C", "O"], 2.0).get_tags() == 1).any()
    oxide = Atoms("MgOMgO", [[0, 0, 0], [2.1, 0, 0], [2.1, 0, 2.1], [0, 0, 2.1]])
    oxide += Atoms("CO", [[0, 0, 4.0], [0, 0, 5.1]])
    oxide.set_cell([4.2, 2.1, 20])
    oxide.pbc = [True, True, False]
    with pytest.raises(InputError, match="lie inside the slab; .* by their numbers"):
        tag_slab(oxide, ["C", "O"])
    assert tag_slab(oxide, [4, 5]).get_tags().tolist() == [0, 0, 1, 1, 2, 2]
    with pytest.raises(InputError, match="no atom of the adsorbate is above"):
        tag_slab(oxide, [3], where="POSCAR, frame 0")


@pytest.mark.parametrize(
    ("adsorbate", "depth", "error", "message"),
    [
        (["N"], None, InputError, "f, frame 0: there is no atom of N"),
        ([99], None, InputError, "no atom 99 among 18"),
        (["Cu", "C", "O"], None, InputError, "all atoms are the adsorbate"),
        (["Xq"], None, UsageError, "no element 'Xq'"),
        ([], None, UsageError, "must name"),
        ("CO", None, UsageError, "a list, such as"),
        (["C", "O"], 0.0, UsageError, "depth must be larger than 0"),
    ],
)
def test_mistakes_are_named(adsorbate, depth, error, message):
    atoms = with_co(fcc111("Cu", (2, 2, 4), vacuum=8))
    with pytest.raises(error, match=message):
        tag_slab(atoms, adsorbate, depth, "f, frame 0")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_poscar_becomes_a_file_that_can_be_predicted(folder, capsys):
    atoms = with_co(fcc111("Cu", (2, 2, 4), vacuum=8))
    atoms.set_constraint(FixAtoms(mask=atoms.get_tags() > 2))
    ase.io.write("POSCAR", atoms, format="vasp")
    assert main(["predict", "emt-is2re", "POSCAR"]) == 1
    assert "molflt data tag" in capsys.readouterr().err
    assert main(["data", "tag", "POSCAR", "s.extxyz", "--adsorbate", "C, O"]) == 0
    assert "2 atoms of the adsorbate, 4 of the surface, 12" in capsys.readouterr().out
    found = ase.io.read("s.extxyz")
    assert len(found.constraints[0].index) == 8
    assert main(["predict", "emt-is2re", "s.extxyz"]) == 0


def test_all_frames_or_none(folder, capsys):
    good, bad = with_co(fcc111("Cu", (2, 2, 4), vacuum=8)), molecule("CH4")
    good.info["energy_of_mine"] = -1.5
    words = ["data", "tag", "in.traj", "out.extxyz", "--adsorbate=-2,-1"]
    ase.io.write("in.traj", [bare(good), bare(good)])
    assert main(words) == 0
    assert "2 structures" in capsys.readouterr().out
    before = (folder / "out.extxyz").read_bytes()
    assert ase.io.read("out.extxyz", "1").info["energy_of_mine"] == -1.5
    ase.io.write("in.traj", [bare(good), bad])
    assert main([*words[:-1], "--adsorbate=C,O"]) != 0
    assert "in.traj, frame 1: there is no atom of O" in capsys.readouterr().err
    assert (folder / "out.extxyz").read_bytes() == before
    assert main(["data", "tag", "in.traj", "out.cif", "--adsorbate", "C"]) != 0
    assert "must end in .extxyz" in capsys.readouterr().err
    assert main(["data", "tag", "out.extxyz", "out.extxyz", "--adsorbate", "C"]) != 0
    assert "write to another" in capsys.readouterr().err
    assert main([*words[:-1], "--adsorbate=--5"]) != 0
    assert "There is no element '--5'" in capsys.readouterr().err
