import json
import os
import pickle

import pytest
import torch
from torch_geometric.loader import DataLoader

from molflt.data.lmdb import store as module
from molflt.data.lmdb.store import LMDBDataset, write_lmdb
from molflt.data.molecule import make_graph
from molflt.errors import InputError
from tests.data.records import ENERGY, opened, random_graphs, write_twenty
from tests.running import python


@pytest.fixture
def path(tmp_path):
    return write_twenty(tmp_path)


def assert_same(one, two):
    assert set(one.keys()) == set(two.keys())
    for key in one.keys():  # noqa: SIM118
        if key == "sid":
            continue
        assert one[key].dtype == two[key].dtype, key
        assert torch.equal(one[key], two[key]), key


def test_round_trip_is_exact(path):
    data = LMDBDataset(path)
    assert data.targets == (ENERGY,)
    assert data.metadata == {"licence": "CC0"}
    assert len(data) == 20
    graphs = list(random_graphs(20))
    assert data.num_atoms.tolist() == [len(graph.z) for graph in graphs]
    for index, graph in enumerate(graphs):
        assert_same(data[index], graph)
        assert data[index].sid == (graph.sid or str(index))
    assert data[-1].sid == data[19].sid
    with pytest.raises(IndexError):
        data[20]


def test_float32_is_only_for_positions_and_forces(tmp_path):
    target = tmp_path / "small.lmdb"
    write_lmdb(target, random_graphs(6), targets=[ENERGY], precision="float32")
    for got, want in zip(LMDBDataset(target), random_graphs(6), strict=True):
        assert torch.equal(got.pos, want.pos.float().double())
        assert torch.equal(got.energy, want.energy)
        assert torch.equal(got.cell, want.cell)


def test_no_pickle_inside(path):
    with opened(path) as transaction:
        values = dict(transaction.cursor())
    assert json.loads(values[b"__meta__"])["format"] == "molflt-lmdb"
    for value in values.values():
        with pytest.raises((pickle.UnpicklingError, ValueError, KeyError)):
            pickle.loads(value)


@pytest.mark.parametrize(("context", "workers"), [("fork", 2), ("spawn", 1)])
def test_loader_processes_read_after_the_parent_did(path, context, workers):
    data, twin = LMDBDataset(path), LMDBDataset(path)
    parent = [data[index].energy.item() for index in range(len(data))]
    loader = DataLoader(
        data, batch_size=5, num_workers=workers, multiprocessing_context=context
    )
    assert torch.cat([batch.energy for batch in loader]).tolist() == parent
    assert twin[0].energy.item() == parent[0]


def test_a_pickled_data_set_opens_itself_again(path):
    copy = pickle.loads(pickle.dumps(LMDBDataset(path)))
    assert copy[3].energy.item() == LMDBDataset(path)[3].energy.item()


def test_a_replaced_file_is_read_anew(path):
    old = LMDBDataset(path)
    write_lmdb(path, random_graphs(3, seed=5), targets=[ENERGY])
    assert len(LMDBDataset(path)) == 3
    assert len(old) == 20


def test_the_map_grows_and_the_file_stays_compact(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_FIRST_MAP_SIZE", 1 << 16)
    target = tmp_path / "grown.lmdb"
    count = write_lmdb(target, random_graphs(700, atoms=40), targets=[ENERGY])
    data = LMDBDataset(target)
    assert count == len(data) == 700
    assert data[699].energy.item() == list(random_graphs(700, atoms=40))[699].energy
    raw = sum(len(data._reader.get(index.to_bytes(8, "big"))) for index in range(700))
    assert target.stat().st_size < 1.6 * raw


def test_nothing_is_left_when_a_record_fails(path):
    before = path.read_bytes()

    def graphs():
        yield from random_graphs(3)
        raise InputError("record 3 is bad")

    with pytest.raises(InputError, match="record 3 is bad"):
        write_lmdb(path, graphs(), targets=[ENERGY])
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_a_full_disk_is_one_sentence(tmp_path):
    """A process that may write 300 kB a file meets the same error as a full disk."""
    script = (
        "import resource, signal, sys\n"
        "from tests.data.records import random_graphs, ENERGY\n"
        "from molflt.data.lmdb.store import write_lmdb\n"
        "from molflt.errors import InputError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"
        "try:\n"
        "    write_lmdb(sys.argv[1], random_graphs(3000), targets=[ENERGY])\n"
        "except InputError as error:\n"
        "    print('refused:', error)\n"
    )
    target = tmp_path / "full.lmdb"
    done = python("-c", script, target, check=True)
    assert done.stdout.startswith(f"refused: Cannot write {target}: ")
    assert os.listdir(tmp_path) == []


def test_missing_folder_and_empty_set(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        write_lmdb(tmp_path / "no" / "x.lmdb", random_graphs(1), targets=[ENERGY])
    with pytest.raises(InputError, match="no record"):
        write_lmdb(tmp_path / "x.lmdb", [], targets=[ENERGY])
    assert os.listdir(tmp_path) == []


def test_records_with_other_labels_are_refused(tmp_path):
    graphs = [*random_graphs(2), make_graph([1], [[0, 0, 0]])]
    with pytest.raises(InputError, match=r"record 2: its labels are \[\]"):
        write_lmdb(tmp_path / "x.lmdb", graphs, targets=[ENERGY])
