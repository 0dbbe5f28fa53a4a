import os
import sqlite3
from contextlib import closing

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect

from molflt.data import AtomsFiles
from molflt.data.convert import convert
from molflt.data.labels.frame_labels import read_labels
from molflt.data.labels.labelled_frames import frame_graph, iterate_graphs
from molflt.data.labels.rules import LabelRules
from molflt.data.lmdb.store import LMDBDataset, write_lmdb
from molflt.errors import InputError, UsageError
from molflt.targets import TargetSpec


def frames(count, forces=True):
    rng = np.random.default_rng(0)
    for index in range(count):
        atoms = molecule("CH3OH")
        atoms.rattle(0.05, rng=rng)
        results = {"energy": -30.0 - index}
        if forces:
            results["forces"] = rng.normal(size=(len(atoms), 3))
        atoms.calc = SinglePointCalculator(atoms, **results)
        yield atoms


@pytest.fixture
def path(tmp_path):
    ase.io.write(tmp_path / "a.xyz", list(frames(12)), format="extxyz")
    return tmp_path / "a.xyz"


@pytest.mark.parametrize("suffix", ["xyz", "traj", "db", "json"])
def test_labels_survive_every_format(tmp_path, suffix):
    source = list(frames(3))
    ase.io.write(tmp_path / f"a.{suffix}", source)
    graphs = list(iterate_graphs(tmp_path / f"a.{suffix}"))
    assert [graph.energy.item() for graph in graphs] == [-30.0, -31.0, -32.0]
    for graph, atoms in zip(graphs, source, strict=True):
        np.testing.assert_allclose(graph.forces, atoms.get_forces(), atol=1e-7)


def test_labels_of_a_live_calculator_are_not_computed():
    atoms = bulk("Cu")
    atoms.calc = EMT()
    assert read_labels(atoms) == (None, None)
    energy = atoms.get_potential_energy()
    assert read_labels(atoms)[0] == energy


def test_keys_choose_other_labels(tmp_path):
    atoms = next(frames(1))
    atoms.info["dft_energy"] = 7.0
    atoms.arrays["dft_forces"] = np.ones((len(atoms), 3))
    ase.io.write(tmp_path / "a.extxyz", atoms)
    rules = LabelRules(energy_key="dft_energy", forces_key="dft_forces")
    graph = next(iterate_graphs(tmp_path / "a.extxyz", rules))
    assert graph.energy.item() == 7.0
    assert (graph.forces == 1).all()
    with connect(tmp_path / "a.db") as database:
        database.write(molecule("CO"), dft_energy=-2.5)
    rules = LabelRules(energy_key="dft_energy")
    assert next(iterate_graphs(tmp_path / "a.db", rules)).energy.item() == -2.5


def test_a_missing_energy_names_file_frame_and_keys(tmp_path):
    bare = molecule("CO")
    bare.info["total_e"] = 1.0
    ase.io.write(tmp_path / "a.xyz", [*frames(2), bare], format="extxyz")
    message = r"a\.xyz, frame 2: no 'energy'; the keys there are: total_e"
    with pytest.raises(InputError, match=message):
        AtomsFiles(tmp_path / "a.xyz").setup()
    with pytest.raises(InputError, match=r"frame 0: no 'total_e'.*energy, forces"):
        list(iterate_graphs(tmp_path / "a.xyz", LabelRules(energy_key="total_e")))
    with pytest.raises(InputError, match=r"frame 0: no 'f'"):
        list(iterate_graphs(tmp_path / "a.xyz", LabelRules(forces_key="f")))


def test_forces_must_be_there_for_all_frames(tmp_path):
    mixed = [*frames(1), *frames(1, forces=False)]
    ase.io.write(tmp_path / "a.xyz", mixed, format="extxyz")
    with pytest.raises(InputError, match=r"frame 1: there are no forces, but frame 0"):
        list(iterate_graphs(tmp_path / "a.xyz"))
    ase.io.write(tmp_path / "d.xyz", mixed[::-1], format="extxyz")
    with pytest.raises(InputError, match=r"frame 1: there are forces, but frame 0"):
        list(iterate_graphs(tmp_path / "d.xyz"))
    ase.io.write(tmp_path / "b.xyz", mixed[:1], format="extxyz")
    ase.io.write(tmp_path / "c.xyz", mixed[1:], format="extxyz")
    with pytest.raises(InputError, match="some have forces"):
        AtomsFiles([tmp_path / "b.xyz", tmp_path / "c.xyz"]).setup()


def relaxing(energy=1.0, moved=0.1):
    atoms = molecule("CO")
    atoms.info["energy"] = energy
    atoms.arrays["pos_relaxed"] = atoms.positions + moved
    return atoms


@pytest.mark.parametrize("suffix", ["extxyz", "db", "lmdb"])
def test_positions_after_relaxation_are_read_of_relaxed_energies(suffix, tmp_path):
    file = tmp_path / ("a.extxyz" if suffix == "lmdb" else f"a.{suffix}")
    frames = [relaxing(float(k)) for k in range(4)]
    if suffix == "db":
        with connect(file) as database:
            for atoms in frames:
                places = {"pos_relaxed": atoms.arrays.pop("pos_relaxed")}
                database.write(atoms, data=places | atoms.info)
    else:
        ase.io.write(file, frames)
    rules = LabelRules(kind="relaxed")
    if suffix == "lmdb":
        convert([file], tmp_path / "a.lmdb", rules)
        file = tmp_path / "a.lmdb"
    data = AtomsFiles(file, val_fraction=0.25, kind="relaxed")
    data.setup()
    for graph in (*data.train, *data.val["val"]):
        torch.testing.assert_close(graph.pos_relaxed, graph.pos + 0.1)
    if suffix != "lmdb":  # of another kind of energy they are nothing
        assert "pos_relaxed" not in next(iterate_graphs(file))


def test_positions_after_relaxation_are_of_all_frames_and_atoms(tmp_path):
    rules = LabelRules(kind="relaxed")
    without = relaxing()
    del without.arrays["pos_relaxed"]
    for frames, words in (
        ([relaxing(), without], "there are no relaxed positions, but frame 0 has some"),
        ([without, relaxing()], "there are relaxed positions, but frame 0 has none"),
    ):
        ase.io.write(tmp_path / "a.extxyz", frames)
        with pytest.raises(InputError, match=f"frame 1: {words}"):
            list(iterate_graphs(tmp_path / "a.extxyz", rules))
    for name, atoms in (("b", relaxing()), ("c", without)):
        ase.io.write(tmp_path / f"{name}.extxyz", atoms)
    files = [tmp_path / "b.extxyz", tmp_path / "c.extxyz"]
    with pytest.raises(InputError, match="some have relaxed positions"):
        AtomsFiles(files, kind="relaxed").setup()
    without.info["pos_relaxed"] = [1.0, 2.0]
    with pytest.raises(InputError, match=r"here: 'pos_relaxed' has shape \(2,\)"):
        frame_graph("here", without, rules)


@pytest.mark.parametrize("value", [[1.0, 2.0], "low", np.array([1.0, 2.0])])
def test_an_energy_must_be_one_number(value):
    atoms = molecule("CO")
    atoms.info["energy"] = value
    with pytest.raises(InputError, match="frame 3: 'energy' is not one number"):
        read_labels(atoms, where="frame 3")


def test_part_of_the_training_file_validates(path):
    data = AtomsFiles(path, val_fraction=0.25, batch_size=4)
    data.setup()
    train = {graph.sid for graph in data.train}
    val = {graph.sid for graph in data.val["val"]}
    assert (len(train), len(val)) == (9, 3)
    assert not train & val
    assert data.test_names == []
    again = AtomsFiles(path, val_fraction=0.25)
    again.setup()
    assert {graph.sid for graph in again.train} == train
    assert next(iter(data.train_dataloader())).forces.shape[1] == 3


def test_part_of_the_training_file_is_a_test_set(path, tmp_path):
    other = tmp_path / "other.traj"
    ase.io.write(other, list(frames(2)))

    def ids(dataset):
        return {dataset[i].energy.item() for i in range(len(dataset))}

    data = AtomsFiles(path, val_fraction=0.25, test_fraction=0.25)
    data.setup()
    parts = [ids(part) for part in (data.train, data.val["val"], data.test["test"])]
    assert [len(part) for part in parts] == [6, 3, 3]
    assert len(set.union(*parts)) == 12
    # The same whatever validates.
    for others in ({"val_fraction": 0.5}, {"val": other}):
        again = AtomsFiles(path, test_fraction=0.25, **others)
        again.setup()
        assert ids(again.test["test"]) == parts[2]
        assert not ids(again.train) & parts[2]
    assert data.description == path.name


def test_forces_of_the_initial_structure_are_not_those_of_a_relaxed_energy(path):
    data = AtomsFiles(path, kind="relaxed")
    data.setup()
    assert "forces" not in data.train[0]
    for options in ({"forces_key": "forces"}, {"stress": True}):
        with pytest.raises(UsageError, match="an energy of kind relaxed has none"):
            AtomsFiles(path, kind="relaxed", **options)


def test_lists_of_files_and_separate_sets(path, tmp_path):
    ase.io.write(tmp_path / "b.traj", list(frames(5)))
    ase.io.write(tmp_path / "c.traj", list(frames(2)))
    held_out = {"val": tmp_path / "c.traj", "test": [tmp_path / "c.traj"]}
    data = AtomsFiles([str(path), tmp_path / "b.traj"], **held_out)
    data.setup()
    assert (len(data.train), data.val_names, data.test_names) == (17, ["val"], ["test"])
    assert len({graph.sid for graph in data.train}) == 17


@pytest.mark.parametrize("split", ["val", "test"])
def test_what_is_trained_on_does_not_validate(path, tmp_path, split):
    (tmp_path / "link.xyz").symlink_to(path)
    with pytest.raises(
        UsageError, match=rf"link\.xyz is named by train and by {split}"
    ):
        AtomsFiles(path, **{split: [tmp_path / "link.xyz"]})


def test_lmdb_files_bring_their_targets(path, tmp_path):
    spec = TargetSpec("energy", reference="free atoms")
    write_lmdb(tmp_path / "a.lmdb", iterate_graphs(path), targets=[spec])
    data = AtomsFiles(tmp_path / "a.lmdb")
    assert data.targets == (spec,)
    data.setup()
    assert len(data.train) == 11
    assert len(LMDBDataset(tmp_path / "a.lmdb")) == 12
    with pytest.raises(UsageError, match="molflt data convert"):
        AtomsFiles([path, tmp_path / "a.lmdb"]).setup()


def test_tags_are_mapped(tmp_path):
    slab = fcc111("Cu", (2, 2, 3), vacuum=6.0)
    add_adsorbate(slab, "O", 1.2, "fcc")
    slab.calc = SinglePointCalculator(slab, energy=1.0)
    ase.io.write(tmp_path / "slab.traj", slab)
    graph = next(iterate_graphs(tmp_path / "slab.traj"))
    assert graph.tags.tolist() == [0] * 8 + [1] * 4 + [2]
    assert graph.pbc.tolist() == [[True, True, False]]


def test_bad_files_are_one_sentence(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        AtomsFiles(tmp_path / "no.xyz")
    (tmp_path / "empty.xyz").touch()
    with pytest.raises(InputError, match=r"empty\.xyz is empty"):
        AtomsFiles(tmp_path / "empty.xyz").setup()
    (tmp_path / "bad.xyz").write_text("3\n\nH 0 0 0\nH 0 0\n")
    with pytest.raises(InputError, match=r"bad\.xyz, frame 0: ASE cannot read it"):
        AtomsFiles(tmp_path / "bad.xyz").setup()
    (tmp_path / "what.dat").write_text("hello")
    with pytest.raises(InputError, match="ASE cannot read"):
        AtomsFiles(tmp_path / "what.dat").setup()
    with pytest.raises(InputError, match="is a folder"):
        AtomsFiles(tmp_path).setup()
    os.mkfifo(tmp_path / "pipe.xyz")
    with pytest.raises(InputError, match=r"pipe\.xyz is no file but a pipe"):
        AtomsFiles(tmp_path / "pipe.xyz").setup()
    nan = Atoms("H", [[0, 0, np.nan]], info={"energy": 1.0})
    ase.io.write(tmp_path / "nan.xyz", [*frames(1, forces=False), nan], format="extxyz")
    with pytest.raises(InputError, match=r"nan\.xyz, frame 1: .*nan"):
        AtomsFiles(tmp_path / "nan.xyz").setup()


def test_senseless_options(path, tmp_path):
    with pytest.raises(UsageError, match="val_fraction"):
        AtomsFiles(path, val_fraction=1.0)
    for fraction in (-0.1, 0.9, 1.0):
        with pytest.raises(UsageError, match="test_fraction"):
            AtomsFiles(path, test_fraction=fraction)
    with pytest.raises(UsageError, match="test_fraction has no meaning"):
        AtomsFiles(path, test=path, test_fraction=0.1)
    with pytest.raises(UsageError, match="empty list"):
        AtomsFiles([])
    ase.io.write(tmp_path / "one.xyz", next(frames(1)), format="extxyz")
    with pytest.raises(InputError, match="too few"):
        AtomsFiles(tmp_path / "one.xyz").setup()


@pytest.mark.parametrize("name", ["notes.db", "notes.sqlite"])
def test_databases_of_other_programs_are_left_as_they_are(tmp_path, name):
    path = tmp_path / name
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE notes (text)")
    before = path.read_bytes()
    with pytest.raises(InputError, match=f"{name} is not a database of ASE"):
        list(iterate_graphs(path))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    (tmp_path / "text.db").write_text("text\n" * 500)
    with pytest.raises(InputError, match=r"text\.db is not a database of ASE"):
        list(iterate_graphs(tmp_path / "text.db"))


@pytest.mark.parametrize("name", ["slab@2.xyz", "postgres_slab.xyz"])
def test_names_are_files_not_addresses(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    ase.io.write("a.xyz", list(frames(3)), format="extxyz")
    (tmp_path / "a.xyz").rename(name)
    assert len(list(iterate_graphs(name))) == 3


def test_a_shape_beyond_memory_is_an_error_of_the_file(tmp_path):
    array = '{"__ndarray__": [[10000000000000, 3], "float64", []]}'
    row = f'{{"numbers": [1], "positions": {array}, "unique_id": "a", "ctime": 1}}'
    (tmp_path / "a.json").write_text(f'{{"1": {row}, "ids": [1], "nextid": 2}}')
    with pytest.raises(InputError, match=r"a\.json, frame 0: ASE cannot read it"):
        list(iterate_graphs(tmp_path / "a.json"))
