"""XYZ files: the same frames as ASE's reader, and errors of one frame alone."""

import gzip
import re
from io import StringIO

import ase.io
import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.io.extxyz import read_xyz

from molflt.data.formats.ase_frames import iterate_atoms
from molflt.data.formats.xyz import atoms_of
from molflt.data.labels.labelled_frames import iterate_graphs
from molflt.errors import InputError


def test_frames_are_those_of_ases_reader(tmp_path):
    frames = [molecule("H2O"), bulk("Cu", cubic=True), molecule("CH4")]
    frames[1].info["note"] = "a b"
    frames[2].info["energy"] = -1.5
    path = tmp_path / "a.xyz"
    ase.io.write(path, frames, format="extxyz")
    path.write_text(path.read_text() + "1\n\nHe 0 0 0\nVEC1 5 0 0\nVEC2 0 5 0\n")
    with gzip.open(tmp_path / "b.xyz.gz", "wt") as file:
        file.write(path.read_text())
    expected = ase.io.read(path, ":")
    assert len(expected) == 4
    for name in ("a.xyz", "b.xyz.gz"):
        found = [atoms for _, atoms in iterate_atoms(tmp_path / name)]
        assert len(found) == 4
        for one, two in zip(found, expected, strict=True):
            assert one == two
            assert one.info == two.info
            np.testing.assert_array_equal(one.positions, two.positions)
    assert found[2].get_potential_energy() == -1.5


HEADERS = [
    *("", "   ", "a comment of several words", "key=1 flag", "note='a b' x=[1,2,3]"),
    *('pbc="F F F"', 'pbc="T T F" Lattice="3 0 0 0.5 3 0 0 0 9"'),
    *('Lattice="3 0 0 0 3 0 0 0 9"', "Properties=species:S:1:pos:R:3 step=7"),
    *("Properties=species:S:1:pos:R:3 energy=-1.5 free_energy=-1.5", "charge=1"),
    *("Properties=pos:R:3:species:S:1", "stress='1 0 0 0 1 0 0 0 1'", "pbc=T"),
]
ROWS = ["H 0 0 0\nO 0.1 -2e-1 +3.\n", "h 0 0 0\nO\t1  2 3 4.5 more\n"]
ROWS += ["6 0 0 0\nH 0 0 1\n", "H 0 0 0\nO 0 0\n", "Xx 0 0 0\nH 1 1 1\n", "X 0 0 0\n\n"]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("rows", ROWS)
def test_what_is_read_without_ase_is_what_ase_reads(header, rows):
    text = f"2\n{header}\n{rows}"
    try:
        (expected,) = read_xyz(StringIO(text), index=0)
    except Exception as error:
        with pytest.raises(type(error)):
            atoms_of(text)
        return
    found = atoms_of(text)
    assert found == expected
    assert found.info.keys() == expected.info.keys()
    for key, value in expected.info.items():
        np.testing.assert_array_equal(found.info[key], value)
    assert found.arrays.keys() == expected.arrays.keys()
    for key, array in expected.arrays.items():
        assert found.arrays[key].dtype == array.dtype
        np.testing.assert_array_equal(found.arrays[key], array)
    results = [None if a.calc is None else a.calc.results for a in (found, expected)]
    assert str(results[0]) == str(results[1])


def test_an_unknown_element_is_named(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("1\n\nXx 0 0 0\n")
    ((_, error),) = iterate_atoms(path)
    assert "no element or key 'Xx'" in str(error)


def test_what_a_parser_says_is_told_as_it_is(tmp_path):
    for name, text, words in (
        ("a.pwi", "&control\n/\n", "(Required section &SYSTEM not found)."),
        ("a.cif", "no such thing\n", "(it is not what its name or beginning says)."),
    ):
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(InputError, match=re.escape(f"ASE cannot read it {words}")):
            list(iterate_atoms(path))


def test_a_frame_that_cannot_be_read_does_not_hide_the_next(tmp_path):
    path = tmp_path / "a.xyz"
    good = "1\nenergy=1\nHe 0 0 0\n"
    path.write_text(f"{good}1\n\nHe 0 zero 0\n{good}")
    (_, one), (where, bad), (_, two) = iterate_atoms(path)
    assert one == two
    assert where == f"{path}, frame 1"
    assert isinstance(bad, InputError)
    assert "frame 1: ASE cannot read it" in str(bad)
    with pytest.raises(InputError, match="frame 1"):
        list(iterate_graphs(path))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("3\n\nH 0 0 0\n", "frame 1: .*ends before the 3 atoms"),
        ("H 0 0 0\n", "frame 1: .*number of atoms, not 'H 0 0 0'"),
        ("-2\n\n", "frame 1: .*-2 atoms"),
    ],
)
def test_what_ends_a_file_is_said(tmp_path, text, words):
    path = tmp_path / "a.xyz"
    path.write_text(f"1\nenergy=1\nHe 0 0 0\n{text}")
    frames = iterate_atoms(path)
    next(frames)
    with pytest.raises(InputError, match=words):
        next(frames)


def test_blank_lines_between_frames_are_no_end(tmp_path):
    path = tmp_path / "a.xyz"
    frame = "1\nenergy={}\nHe 0 0 0\n"
    path.write_text("\n" + "\n  \n".join(map(frame.format, range(3))) + "\n\n")
    energies = [atoms.get_potential_energy() for _, atoms in iterate_atoms(path)]
    assert energies == [0, 1, 2]
    path.write_text(path.read_text() + "Lattice\n")
    frames = iterate_atoms(path)
    assert len([next(frames) for _ in range(3)]) == 3
    with pytest.raises(InputError, match="frame 3: .*number of atoms, not 'Lattice'"):
        next(frames)


@pytest.mark.parametrize("name", ["POSCAR_1.extxyz", "CONTCAR.xyz", "OUTCAR.extxyz.gz"])
def test_a_file_of_a_vasp_name_is_what_its_end_says(name, tmp_path):
    """The name alone would make it VASP's, in ASE."""
    path = tmp_path / name
    with (gzip.open if name.endswith(".gz") else open)(path, "wt") as file:
        ase.io.write(file, molecule("H2O"), format="extxyz")
    ((_, found),) = iterate_atoms(path)
    assert found == molecule("H2O")


def test_ases_poscar_of_another_ending_is_still_a_poscar(tmp_path):
    path = tmp_path / "POSCAR_1.extxyz"
    ase.io.write(path, bulk("Cu"))  # no XYZ file: ASE goes by the name
    ((_, found),) = iterate_atoms(path)
    assert found.cell == pytest.approx(bulk("Cu").cell.array)
