import os
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

from molflt.cli import main
from molflt.data import AtomsFiles
from molflt.data.convert import convert
from molflt.data.labels.rules import LabelRules
from molflt.data.lmdb.store import LMDBDataset
from molflt.data.oc20.dataset import ADSORPTION_ENERGY, OCPDataset
from molflt.errors import InputError, UsageError
from tests.data.ocp_files import pyg1, pyg2, slab_fields, write_ocp


def write_frames(path, count, start=0, forces=True):
    frames = []
    for index in range(start, start + count):
        atoms = molecule("H2O")
        atoms.rattle(0.1, seed=index)
        labels = {"energy": float(index)}
        if forces:
            labels["forces"] = np.full((3, 3), 0.1 * index)
        atoms.calc = SinglePointCalculator(atoms, **labels)
        frames.append(atoms)
    ase.io.write(path, frames)
    return frames


def test_structures_of_several_files_keep_order_and_labels(tmp_path):
    frames = write_frames(tmp_path / "a.extxyz", 3)
    frames += write_frames(tmp_path / "b.traj", 2, start=3)
    out = tmp_path / "out.lmdb"
    count = convert(
        [tmp_path / "a.extxyz", tmp_path / "b.traj"],
        out,
        LabelRules(reference="free atoms"),
    )
    data = LMDBDataset(out)
    assert count == len(data) == 5
    assert data.targets[0].reference == "free atoms"
    assert data.targets[0].kind == "potential"
    for index, (graph, atoms) in enumerate(zip(data, frames, strict=True)):
        assert graph.sid == str(index)
        assert graph.energy.item() == index
        np.testing.assert_allclose(graph.pos, atoms.positions, atol=1e-7)
        np.testing.assert_allclose(graph.forces, 0.1 * index, atol=1e-7)


def test_a_folder_is_all_lmdb_files_below_it(tmp_path, capsys):
    shards = tmp_path / "shards"
    (shards / "more").mkdir(parents=True)
    for name, start in (("b", 2), ("a", 0), ("more/c", 4)):
        write_frames(tmp_path / "frames.extxyz", 2, start)
        convert([tmp_path / "frames.extxyz"], shards / f"{name}.lmdb")
    (shards / "notes.txt").write_text("no data")
    out = tmp_path / "all.lmdb"
    assert main(["data", "convert", str(shards), str(out)]) == 0
    assert "6 structures with energy, forces" in capsys.readouterr().out
    assert [graph.energy.item() for graph in LMDBDataset(out)] == [0, 1, 2, 3, 4, 5]
    assert main(["data", "convert", str(shards), str(shards / "a.lmdb")]) == 2
    assert "a.lmdb is one of the files to convert" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["data", "convert", str(tmp_path / "empty"), str(out)]) == 1
    assert "is a folder without LMDB files" in capsys.readouterr().err


def test_relaxed_energies_have_no_forces(tmp_path):
    write_frames(tmp_path / "a.extxyz", 2)
    out = tmp_path / "out.lmdb"
    convert([tmp_path / "a.extxyz"], out, LabelRules(kind="relaxed"))
    graph = LMDBDataset(out)[1]
    assert graph.energy.item() == 1
    assert "forces" not in graph
    for options in ({"forces_key": "forces"}, {"stress": True}):
        with pytest.raises(UsageError, match="kind relaxed has none"):
            convert([tmp_path / "a.extxyz"], out, LabelRules(kind="relaxed", **options))


def test_a_link_stays_one(tmp_path):
    write_frames(tmp_path / "a.extxyz", 2)
    link, scratch = tmp_path / "out.lmdb", tmp_path / "scratch"
    scratch.mkdir()
    link.symlink_to(scratch / "data.lmdb")
    convert([tmp_path / "a.extxyz"], link)
    assert link.is_symlink()
    assert [path.name for path in scratch.iterdir()] == ["data.lmdb"]
    assert len(LMDBDataset(link)) == 2


@pytest.mark.parametrize("layout", [pyg1, pyg2])
def test_ocp_files_become_molflt_files(tmp_path, layout):
    source, out = tmp_path / "ocp.lmdb", tmp_path / "out.lmdb"
    write_ocp(source, [layout(slab_fields(i)) for i in range(4)])
    assert convert([source], out) == 4
    data, original = LMDBDataset(out), OCPDataset(source)
    assert data.targets == (ADSORPTION_ENERGY,)
    for got, want in zip(data, original, strict=True):
        assert got.sid == want.sid
        for name in ("z", "pos", "cell", "tags", "fixed", "energy", "pos_relaxed"):
            assert (got[name] == want[name]).all(), name
    again = tmp_path / "again.lmdb"
    convert([out, source], again)
    assert len({graph.sid for graph in LMDBDataset(again)}) == 8


def test_nothing_is_written_after_an_error(tmp_path):
    write_frames(tmp_path / "a.extxyz", 2)
    bare = molecule("H2O")
    ase.io.write(tmp_path / "bare.extxyz", bare)
    with pytest.raises(InputError, match=r"bare\.extxyz, frame 0: no 'energy'"):
        convert(
            [tmp_path / "a.extxyz", tmp_path / "bare.extxyz"], tmp_path / "out.lmdb"
        )
    write_frames(tmp_path / "b.extxyz", 2, forces=False)
    with pytest.raises(InputError, match="record 2: its labels are"):
        convert([tmp_path / "a.extxyz", tmp_path / "b.extxyz"], tmp_path / "out.lmdb")
    assert sorted(os.listdir(tmp_path)) == ["a.extxyz", "b.extxyz", "bare.extxyz"]


def test_unlabelled_ocp_files_are_refused(tmp_path):
    record = pyg2(slab_fields(0, y_relaxed=..., pos_relaxed=...))
    write_ocp(tmp_path / "test.lmdb", [record])
    with pytest.raises(InputError, match=r"test\.lmdb, record 0: the label y_relaxed"):
        convert([tmp_path / "test.lmdb"], tmp_path / "out.lmdb")


def test_different_targets_are_not_mixed(tmp_path):
    write_ocp(tmp_path / "ocp.lmdb", [pyg2(slab_fields(0))])
    write_frames(tmp_path / "a.extxyz", 1)
    with pytest.raises(InputError, match="have different targets"):
        convert([tmp_path / "ocp.lmdb", tmp_path / "a.extxyz"], tmp_path / "out.lmdb")


def test_senseless_names_are_bad_usage(tmp_path):
    write_frames(tmp_path / "a.extxyz", 1)
    with pytest.raises(UsageError, match=r"must end in \.lmdb"):
        convert([tmp_path / "a.extxyz"], tmp_path / "out.db")
    with pytest.raises(UsageError, match="at least one"):
        convert([], tmp_path / "out.lmdb")
    convert([tmp_path / "a.extxyz"], tmp_path / "out.lmdb")
    with pytest.raises(UsageError, match="one of the files"):
        convert([tmp_path / "out.lmdb"], tmp_path / "out.lmdb")
    with pytest.raises(InputError, match="No such file"):
        convert([tmp_path / "no.xyz"], tmp_path / "out.lmdb")


def test_what_labels_mean_is_not_chosen_for_files_that_know(tmp_path):
    atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0)
    ase.io.write(tmp_path / "a.extxyz", [atoms] * 3)
    own = tmp_path / "own.lmdb"
    convert([tmp_path / "a.extxyz"], own, LabelRules(kind="relaxed"))
    for rules in (LabelRules(kind="relaxed"), LabelRules(tags="oc20")):
        with pytest.raises(UsageError, match="knows what its labels are"):
            convert([own], tmp_path / "again.lmdb", rules)
    with pytest.raises(UsageError, match=r"init_args\.forces_key is not read"):
        AtomsFiles(own, forces_key="F")
    assert AtomsFiles(own, kind="relaxed").targets[0].kind == "relaxed"
    convert([tmp_path / "a.extxyz"], own)
    with pytest.raises(UsageError, match=r"init_args\.kind is not read"):
        AtomsFiles(own, kind="relaxed")


def test_bad_rows_are_left_out_and_named_on_request(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = ["C,1", "C1CC,2", "[Na+].[Cl-],3", "CO,<4", "O,5"]
    Path("a.csv").write_text("\n".join(["smiles,logp", *rows]))
    words = ["data", "convert", "a.csv", "a.lmdb", "--target", "logp:1:mean"]
    assert main(words) == 1
    assert "a.csv, line 3: 'C1CC' is not a valid SMILES" in capsys.readouterr().err
    assert not Path("a.lmdb").exists()
    assert main([*words, "--skip-bad"]) == 0
    told = capsys.readouterr().err
    for sentence in ("line 3: 'C1CC'", "line 4: '[Na+]", "line 5: 'logp' is not one"):
        assert sentence in told
    assert "3 files or structures could not be used" in told
    found = LMDBDataset("a.lmdb")
    assert [(graph.sid, float(graph.logp)) for graph in found] == [("C", 1), ("O", 5)]
    Path("a.csv").write_text("smiles,logp\nQ,1\n")
    assert main([*words, "--skip-bad"]) == 1
    told = capsys.readouterr().err
    assert "line 2: 'Q' is not" in told
    assert "there is no record to write" in told
    assert len(LMDBDataset("a.lmdb")) == 2  # the older file


def test_files_that_break_off_are_left_out_on_request(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_frames("a.extxyz", 1)
    write_frames("d.extxyz", 1, start=1)
    Path("b.extxyz").write_text("2\nx\nC 0 0")
    Path("OUTCAR_c").write_text("begins, and ends\n")
    words = [
        "data",
        "convert",
        "a.extxyz",
        "b.extxyz",
        "OUTCAR_c",
        "d.extxyz",
        "o.lmdb",
    ]
    assert main(words) == 1
    assert not Path("o.lmdb").exists()
    capsys.readouterr()
    assert main([*words, "--skip-bad"]) == 0
    told = capsys.readouterr().err
    assert "b.extxyz, frame 0" in told
    assert "OUTCAR_c, frame 0" in told
    assert [float(graph.energy) for graph in LMDBDataset("o.lmdb")] == [0.0, 1.0]
    words = ["data", "convert", "a.extxyz", "no.extxyz", "n.lmdb", "--skip-bad"]
    assert main(words) == 1
    assert capsys.readouterr().err == "molflt: No such file: no.extxyz.\n"
