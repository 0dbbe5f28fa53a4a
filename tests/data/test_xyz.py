"""XYZ files: the same frames as ASE's reader, and errors of one frame alone."""

import gzip

import ase.io
import numpy as np
import pytest
from ase.build import bulk, molecule

from molflt.data.ase_frames import iterate_atoms, iterate_graphs
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
