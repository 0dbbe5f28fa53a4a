"""Structures that lack some of the targets: told, kept, or refused."""

import ase.io
import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

from molflt.cli import main
from molflt.data import AtomsFiles
from molflt.data.lmdb.store import LMDBDataset, write_lmdb
from molflt.data.molecule import graph_to_atoms, is_missing
from molflt.errors import InputError
from molflt.targets import TargetSpec

GAP = TargetSpec("gap", kind="property", extensive=False)
CV = TargetSpec("cv", unit="cal/mol/K", kind="property")


def frames():
    """Of nine, every third lacks the gap and one has NaN for its cv."""
    for index in range(9):
        atoms = molecule("H2O")
        atoms.rattle(0.1, seed=index)
        atoms.info["cv"] = float("nan") if index == 4 else 6.0 + index
        if index % 3:
            atoms.info["gap"] = 5.0 + index
        yield atoms


@pytest.fixture
def path(tmp_path):
    ase.io.write(tmp_path / "a.extxyz", list(frames()))
    return tmp_path / "a.extxyz"


def labels(graphs):
    return {g.sid: (g.gap.item(), g.cv.item()) for g in graphs}


EXPECTED = {
    str(i): (5.0 + i if i % 3 else np.nan, np.nan if i == 4 else 6.0 + i)
    for i in range(9)
}


def assert_expected(graphs):
    found = labels(graphs)
    assert set(found) == set(EXPECTED)
    for sid, values in EXPECTED.items():
        np.testing.assert_array_equal(found[sid], values)


def test_they_are_an_error_unless_asked_for(path):
    with pytest.raises(InputError, match=r"frame 0: no 'gap'"):
        AtomsFiles(path, targets=[GAP, CV]).setup()
    with pytest.raises(InputError, match=r"frame 4: .*'cv'.* finite"):
        AtomsFiles(path, targets=[CV]).setup()


def test_structures_without_any_are_left_out(path, tmp_path, capsys, caplog):
    data = AtomsFiles(path, targets=[GAP], missing_labels=True)
    data.setup()
    assert len(data.train) + len(data.val["val"]) == 6
    assert "a.extxyz: structures without any label, left out: 3" in caplog.text
    words = ["--target", "gap:eV:mean", "--missing-labels"]
    assert main(["data", "check", str(path), *words]) == 0
    assert "structures without any label: 3" in capsys.readouterr().out
    out = tmp_path / "a.lmdb"
    assert main(["data", "convert", str(path), str(out), *words]) == 0
    assert len(LMDBDataset(out)) == 6


def test_a_file_to_validate_with_that_lacks_a_target_is_told(path, tmp_path, caplog):
    bare = list(frames())
    for atoms in bare:
        atoms.info.pop("gap", None)
    ase.io.write(tmp_path / "v.extxyz", bare)
    options = {"targets": [GAP, CV], "missing_labels": True}
    AtomsFiles(path, tmp_path / "v.extxyz", **options).setup()
    assert "v.extxyz: no structure has a label 'gap', so val has no" in caplog.text
    with pytest.raises(InputError, match=r"v\.extxyz: no structure has a label 'gap'"):
        AtomsFiles(tmp_path / "v.extxyz", path, **options).setup()


def test_asked_for_they_are_nan(path):
    data = AtomsFiles(path, targets=[GAP, CV], missing_labels=True)
    data.setup()
    assert_expected([*data.train, *data.val["val"]])


def test_an_lmdb_keeps_them(path, tmp_path, capsys):
    words = ["--target", "gap:eV:mean", "--target", "cv:cal/mol/K", "--missing-labels"]
    one, two = tmp_path / "a.lmdb", tmp_path / "b.lmdb"
    assert main(["data", "convert", str(path), str(one), *words]) == 0
    assert main(["data", "convert", str(one), str(two)]) == 0
    for file in (one, two):
        assert_expected(LMDBDataset(file))
    capsys.readouterr()
    for file, options in ((path, words), (one, [])):
        assert main(["data", "check", str(file), *options]) == 0
        said = capsys.readouterr().out
        assert "warning: not all have all labels: 5 have cv, gap" in said
        assert "3 have cv (the first is record 0)" in said
        assert "label gap" in said
        assert "nan" not in said
    data = AtomsFiles(one)
    data.setup()
    assert_expected([*data.train, *data.val["val"]])


def test_a_target_that_nobody_has_is_refused(path, tmp_path, capsys):
    words = ["--target", "gpa", "--target", "gap", "--target", "cv", "--missing-labels"]
    assert main(["data", "check", str(path), *words]) == 1
    assert "no structure has a label 'gpa'" in capsys.readouterr().err
    out = tmp_path / "a.lmdb"
    assert main(["data", "convert", str(path), str(out), *words]) == 1
    found = capsys.readouterr().err
    assert "no structure has a label 'gpa'; the keys of the first are: cv" in found
    assert not out.exists()


def test_forces_are_of_all_or_asked_for(tmp_path, capsys):
    """Where some have energy and forces, and all have another target."""
    found = []
    for index, atoms in enumerate(frames()):
        atoms.info["cv"] = 1.0 + index
        if index % 2:
            labels = {"energy": -1.0 * index, "forces": atoms.positions}
            atoms.calc = SinglePointCalculator(atoms, **labels)
        found.append(atoms)
    path, out = tmp_path / "b.extxyz", tmp_path / "b.lmdb"
    ase.io.write(path, found)
    words = ["--target", "energy", "--target", "cv:cal/mol/K", "--missing-labels"]
    assert main(["data", "check", str(path), *words]) == 0
    assert main(["data", "convert", str(path), str(out), *words]) == 0
    assert sum(not is_missing(graph, "energy") for graph in LMDBDataset(out)) == 4
    assert "forces" not in LMDBDataset(out)[1]
    capsys.readouterr()
    assert main(["data", "check", str(path), *words, "--forces-key", "forces"]) == 1
    assert "no 'forces'; the keys there are" in capsys.readouterr().err


def test_units_are_suspected_of_those_that_there_are(tmp_path, capsys):
    found = list(frames())
    for index, atoms in enumerate(found):
        if index % 2:
            atoms.info["energy"] = -76.4 - 1e-3 * index  # hartree
        atoms.info["cv"] = 1.0
    ase.io.write(tmp_path / "b.extxyz", found)
    words = ["--target", "energy", "--target", "cv", "--missing-labels"]
    assert main(["data", "check", str(tmp_path / "b.extxyz"), *words]) == 0
    assert "hartree" in capsys.readouterr().out


def test_a_file_must_say_so(path, tmp_path):
    data = AtomsFiles(path, targets=[GAP, CV], missing_labels=True)
    data.setup()
    with pytest.raises(InputError, match="gap is not finite"):
        write_lmdb(tmp_path / "a.lmdb", data.train, targets=[GAP, CV])


def test_structures_go_out_without_them(path):
    data = AtomsFiles(path, targets=[GAP, CV], missing_labels=True)
    data.setup()
    for graph in data.train:
        atoms = graph_to_atoms(graph)
        assert ("gap" in atoms.info) is not is_missing(graph, "gap")
