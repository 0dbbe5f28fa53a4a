"""Labels are found wherever ASE puts them, under any name."""

import ase.db
import ase.io
import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator

from molflt.cli import main
from molflt.data.lmdb.store import LMDBDataset

FORCES = np.arange(9.0).reshape(3, 3) / 10


def in_calculator(atoms):
    atoms.calc = SinglePointCalculator(atoms, energy=-1.5, forces=FORCES)


def in_info_and_arrays(atoms):
    atoms.info["E"], atoms.arrays["F"] = -1.5, FORCES.copy()


def in_info_with_known_names(atoms):
    atoms.info["energy"], atoms.arrays["forces"] = -1.5, FORCES.copy()


OWN = ["--energy-key", "E", "--forces-key", "F"]


@pytest.mark.parametrize(
    ("suffix", "place", "words"),
    [
        *((suffix, in_calculator, []) for suffix in ("extxyz", "traj", "db", "json")),
        # ASE's trajectories keep no arrays of other names.
        ("extxyz", in_info_and_arrays, OWN),
        ("extxyz", in_info_with_known_names, []),
    ],
)
def test_every_place_and_format(suffix, place, words, tmp_path, capsys):
    atoms = molecule("H2O")
    place(atoms)
    source, out = str(tmp_path / f"my.{suffix}"), str(tmp_path / "my.lmdb")
    ase.io.write(source, atoms)
    assert main(["data", "convert", source, out, *words]) == 0, capsys.readouterr().err
    (graph,) = LMDBDataset(out)
    assert graph.energy.item() == -1.5
    np.testing.assert_allclose(graph.forces, FORCES, atol=1e-7)


@pytest.mark.parametrize(
    ("pairs", "data", "words"),
    [
        ({"E": -1.5}, {"F": FORCES}, OWN),
        ({}, {"E": -1.5, "F": FORCES}, OWN),
        ({}, {"energy": -1.5, "forces": FORCES}, []),
    ],
)
def test_rows_of_a_database(pairs, data, words, tmp_path, capsys):
    source, out = str(tmp_path / "my.db"), str(tmp_path / "my.lmdb")
    with ase.db.connect(source) as rows:
        rows.write(molecule("H2O"), key_value_pairs=pairs, data=data)
    assert main(["data", "convert", source, out, *words]) == 0, capsys.readouterr().err
    (graph,) = LMDBDataset(out)
    assert graph.energy.item() == -1.5
    np.testing.assert_allclose(graph.forces, FORCES)


def test_without_labels_the_keys_there_are_named(tmp_path, capsys):
    atoms = molecule("H2O")
    atoms.info["REF_energy"], atoms.arrays["REF_forces"] = -1.5, FORCES.copy()
    source, out = str(tmp_path / "my.extxyz"), str(tmp_path / "my.lmdb")
    ase.io.write(source, atoms)
    for words, missing in (([], "'energy'"), (["--energy-key=E"], "'E'")):
        assert main(["data", "convert", source, out, *words]) == 1
        printed = capsys.readouterr().err
        assert f"frame 0: no {missing}; the keys there are: REF_energy" in printed
        assert "REF_forces" in printed
    words = ["--energy-key=REF_energy", "--forces-key=F"]
    assert main(["data", "convert", source, out, *words]) == 1
    assert "no 'F'" in capsys.readouterr().err
    assert not (tmp_path / "my.lmdb").exists()


def test_labels_that_are_not_read_are_told(tmp_path, capsys):
    atoms = molecule("H2O")
    atoms.info["REF_energy"], atoms.arrays["REF_forces"] = -1.5, FORCES.copy()
    source, out = str(tmp_path / "my.extxyz"), str(tmp_path / "my.lmdb")
    ase.io.write(source, atoms)
    assert main(["data", "check", source]) == 1
    assert "first are: REF_energy, REF_forces" in capsys.readouterr().err
    assert main(["data", "convert", source, out, "--energy-key=REF_energy"]) == 0
    printed = capsys.readouterr()
    assert "1 structures with energy\n" in printed.out
    assert (
        "not read were REF_forces; --energy-key, --forces-key, --stress" in printed.err
    )
    words = ["--energy-key=REF_energy", "--forces-key=REF_forces"]
    assert main(["data", "convert", source, out, *words]) == 0
    printed = capsys.readouterr()
    assert "1 structures with energy, forces\n" in printed.out
    assert "not read" not in printed.err


def test_a_stress_that_is_not_read_is_told(tmp_path, capsys):
    atoms = bulk("Cu")
    stress = np.arange(6) / 10
    atoms.calc = SinglePointCalculator(atoms, energy=-3.5, stress=stress)
    source, out = str(tmp_path / "my.extxyz"), str(tmp_path / "my.lmdb")
    ase.io.write(source, atoms)
    words = ["data", "convert", source, out]
    assert main(words) == 0
    assert "not read were stress; " in capsys.readouterr().err
    assert main([*words, "--stress"]) == 0
    printed = capsys.readouterr()
    assert "1 structures with energy, stress\n" in printed.out
    assert "not read" not in printed.err


def test_check_prints_what_there_is_and_what_is_wrong(tmp_path, capsys):
    frames = [bulk("Cu"), bulk("Cu"), bulk("Al")]
    for energy, atoms in enumerate(frames):
        atoms.calc = SinglePointCalculator(atoms, energy=energy - 3.5)
    path = tmp_path / "a.extxyz"
    ase.io.write(path, frames)
    assert main(["data", "check", str(path)]) == 0
    printed = capsys.readouterr().out
    for words in (
        *("structures    3", "elements      Cu (2), Al (1)", "T T T (3)"),
        *("label energy  -3.5 to -1.5", "1 structures are copies"),
        "3 structures, no defects, 1 warning above.",
    ):
        assert words in printed
    text = path.read_text()
    path.write_text(text.replace("energy=-2.5", "energy=nan"))
    assert main(["data", "check", str(path)]) == 1
    printed = capsys.readouterr()
    assert "structures    2" in printed.out
    assert "frame 1" in printed.err


def test_relaxed_positions_that_are_not_read_are_told(tmp_path, capsys):
    atoms = molecule("H2O")
    atoms.info["energy"] = -1.5
    atoms.arrays["pos_relaxed"] = atoms.positions + 0.1
    source, out = str(tmp_path / "my.extxyz"), str(tmp_path / "my.lmdb")
    ase.io.write(source, atoms)
    assert main(["data", "convert", source, out]) == 0
    assert "not read were pos_relaxed; " in capsys.readouterr().err
    assert main(["data", "convert", source, out, "--kind=relaxed"]) == 0
    printed = capsys.readouterr()
    assert "1 structures with energy, pos_relaxed\n" in printed.out
    assert "not read" not in printed.err
