"""Quantities of one's own: numbers that stand in files by their names."""

import ase.io
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

from molflt.cli import main
from molflt.commands.label_options import target
from molflt.data import AtomsFiles
from molflt.data.labels.labelled_frames import iterate_graphs
from molflt.data.labels.rules import LabelRules
from molflt.data.lmdb.store import LMDBDataset
from molflt.errors import InputError, UsageError
from molflt.targets import TargetSpec

ENERGY = TargetSpec("energy", reference="free atoms")
GAP = TargetSpec("gap", kind="property", extensive=False)
MU = TargetSpec("mu", unit="D", kind="property", extensive=False, readout="dipole")


def frames(count):
    for index in range(count):
        atoms = molecule("H2O")
        atoms.rattle(0.1, seed=index)
        forces = atoms.positions * index
        atoms.calc = SinglePointCalculator(atoms, energy=-10.0 - index, forces=forces)
        atoms.info |= {"gap": 5.0 + index, "mu": 1.0 + index, "note": "text"}
        yield atoms


@pytest.fixture
def path(tmp_path):
    ase.io.write(tmp_path / "a.extxyz", list(frames(6)))
    return tmp_path / "a.extxyz"


def test_targets_are_read_by_their_names(path):
    data = AtomsFiles(path, targets=[GAP, ENERGY])
    data.setup()
    assert data.targets == (GAP, ENERGY)
    for graph in data.train:
        assert graph.gap.item() == 15.0 - (20.0 + graph.energy.item())
        assert "forces" in graph
        assert "mu" not in graph


def test_forces_belong_to_a_potential_energy(path):
    (first, *_) = iterate_graphs(path, LabelRules(targets=(GAP, MU)))
    assert (first.gap.item(), first.mu.item()) == (5.0, 1.0)
    assert "forces" not in first
    assert "energy" not in first
    with pytest.raises(UsageError, match="none among the targets"):
        LabelRules(targets=(GAP,), stress=True)


def test_a_database_and_another_name_of_the_energy(tmp_path):
    with connect(tmp_path / "a.db") as database:
        database.write(molecule("CO"), e_pbe=-2.5, gap=7)
    rules = LabelRules(energy_key="e_pbe", targets=(ENERGY, GAP))
    (graph,) = iterate_graphs(tmp_path / "a.db", rules)
    assert (graph.energy.item(), graph.gap.item()) == (-2.5, 7.0)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("homo", "frame 0: no 'homo'; the keys there are: energy, forces, gap, mu"),
        ("note", "'note' is not one number"),
        ("forces", "'forces' cannot be the name of a target"),
        ("charge", "'charge' cannot be the name of a target: it says"),
        ("type", "'type' cannot be the name of a target"),
        ("log P", "'log P' cannot be the name of a target: letters, digits and _"),
    ],
)
def test_what_is_no_number_is_told(path, name, words):
    with pytest.raises(InputError, match=words):
        AtomsFiles(path, targets=[TargetSpec(name, kind="property")]).setup()


def test_a_target_that_some_lack_tells_the_option_for_it(path):
    targets = [GAP, TargetSpec("homo", kind="property")]
    with pytest.raises(InputError, match=r"note; .* with missing_labels \(--"):
        AtomsFiles(path, targets=targets).setup()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"targets": [GAP, GAP]}, "'gap' is named twice"),
        ({"targets": [GAP], "kind": "relaxed"}, "each of several targets has its own"),
        ({"targets": [GAP], "reference": "atoms"}, "each of several targets"),
        ({"targets": [GAP], "energy_key": "e"}, "no target 'energy'"),
        ({"targets": [TargetSpec("gap")]}, "'gap' is of kind potential"),
        ({"targets": [TargetSpec("energy", "kcal/mol")]}, "'energy' is of kind pot"),
        ({"targets": [TargetSpec("energy", extensive=False)]}, "'energy' is of kind"),
    ],
)
def test_options_that_contradict_each_other(path, options, words):
    with pytest.raises(UsageError, match=words):
        AtomsFiles(path, **options)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("gap:eV:mean", GAP),
        ("mu:D:dipole", MU),
        ("cv:cal/mol/K", TargetSpec("cv", unit="cal/mol/K", kind="property")),
        ("r2:A^2:extent", TargetSpec("r2", "A^2", kind="property", readout="extent")),
        ("logp:1:mean", TargetSpec("logp", "1", kind="property", extensive=False)),
    ],
)
def test_targets_on_the_command_line(words, expected):
    assert target(words) == expected


def test_commands_convert_check_and_describe(path, tmp_path, capsys):
    words = ["--target", "energy", "--target", "gap:eV:mean", "--target", "mu:D:dipole"]
    out = str(tmp_path / "a.lmdb")
    kind = ["--kind", "relaxed", "--reference", "free atoms"]
    assert main(["data", "convert", str(path), out, *words, *kind]) == 0
    assert "6 structures with energy, gap, mu" in capsys.readouterr().out
    energy = TargetSpec("energy", kind="relaxed", reference="free atoms")
    assert LMDBDataset(out).targets == (energy, GAP, MU)
    for file, options in ((str(path), words), (out, [])):
        assert main(["data", "check", file, *options]) == 0
        said = capsys.readouterr().out
        assert "gap [eV], property" in said
        assert "label mu" in said
    assert main(["data", "check", str(path), "--target", "homo"]) == 1
    assert "no 'homo'; the keys there are" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["gap:eV:median", ":eV", ""])
def test_a_target_that_says_nothing_is_refused(path, words, capsys):
    assert main(["data", "describe", str(path), f"--target={words}"]) == 2
    assert "NAME:UNIT:READOUT" in capsys.readouterr().err


def test_an_lmdb_knows_its_targets(path, tmp_path, capsys):
    out = tmp_path / "a.lmdb"
    assert main(["data", "convert", str(path), str(out), "--target", "gap"]) == 0
    with pytest.raises(UsageError, match=r"data\.init_args\.targets is not read"):
        AtomsFiles(out, targets=[GAP])
    words = ["data", "convert", str(out), str(tmp_path / "b.lmdb"), "--target", "gap"]
    assert main(words) == 2
    assert "knows what its labels are" in capsys.readouterr().err
