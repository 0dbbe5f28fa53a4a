"""Files that are damaged, or are none of ours, are told apart in a sentence."""

import json
import shutil
import warnings
import zlib

import numpy as np
import pytest
from safetensors.numpy import save

from molflt.data.lmdb import record as lmdb_record
from molflt.data.lmdb.store import LMDBDataset, write_lmdb
from molflt.errors import InputError
from tests.data.records import ENERGY, opened, random_graphs, write_twenty
from tests.running import python


@pytest.fixture
def path(tmp_path):
    return write_twenty(tmp_path)


def test_files_that_are_no_lmdb(tmp_path):
    with pytest.raises(InputError, match=r"No such file: .*a\.lmdb"):
        LMDBDataset(tmp_path / "a.lmdb")
    with pytest.raises(InputError, match="is a folder"):
        LMDBDataset(tmp_path)
    (tmp_path / "empty.lmdb").touch()
    with pytest.raises(InputError, match=r"empty\.lmdb is empty"):
        LMDBDataset(tmp_path / "empty.lmdb")
    for size in (3, 100, 10_000):
        (tmp_path / "text.lmdb").write_bytes(b"H 0 0 0\n" * size)
        with pytest.raises(InputError, match=r"text\.lmdb is not an LMDB"):
            LMDBDataset(tmp_path / "text.lmdb")


@pytest.mark.parametrize("part", [0.001, 0.01, 0.3, 0.5, 0.9, 0.999])
def test_a_file_cut_anywhere_is_refused(tmp_path, part):
    whole = tmp_path / "whole.lmdb"
    write_lmdb(whole, random_graphs(200), targets=[ENERGY])
    cut = tmp_path / "cut.lmdb"
    content = whole.read_bytes()
    cut.write_bytes(content[: int(part * len(content))])
    with pytest.raises(InputError, match=r"cut\.lmdb is cut short"):
        LMDBDataset(cut)


def test_damaged_records_are_named(path):
    shutil.copy(path, copy := path.with_name("copy.lmdb"))
    with opened(copy) as transaction:
        good = transaction.get((0).to_bytes(8, "big"))
        transaction.delete((1).to_bytes(8, "big"))
        transaction.put((2).to_bytes(8, "big"), good[:50])
        transaction.put((3).to_bytes(8, "big"), b"not zlib")
        transaction.put((4).to_bytes(8, "big"), zlib.compress(b"no tensors"))
    data = LMDBDataset(copy)
    assert data[0].z.numel()
    for index in (1, 2, 3, 4):
        with pytest.raises(InputError, match=rf"copy\.lmdb, record {index} is damaged"):
            data[index]


def test_pages_that_were_overwritten_are_noticed(tmp_path):
    path = tmp_path / "set.lmdb"
    write_lmdb(path, random_graphs(200), targets=[ENERGY])
    content = bytearray(path.read_bytes())
    pages = range(2 * 4096, len(content) // 2, 4096)
    meta = content.index(b"molflt-lmdb") // 4096 * 4096
    for page in pages:
        if page != meta:
            content[page : page + 4096] = bytes(4096)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"set\.lmdb.* damaged"):
        list(LMDBDataset(path))


def test_a_record_that_inflates_without_end_is_refused(path, monkeypatch):
    monkeypatch.setattr(lmdb_record, "MAX_BYTES", 100)
    with pytest.raises(InputError, match="larger than 100 bytes"):
        LMDBDataset(path)[0]


def write_raw(path, items):
    with opened(path) as transaction:
        for key, value in items.items():
            transaction.put(key, value)


def test_other_lmdbs_are_told_apart(tmp_path):
    write_raw(tmp_path / "ocp.lmdb", {b"0": b"\x80\x04N."})
    with pytest.raises(InputError, match=r"molflt data convert .*ocp\.lmdb OUT\.lmdb"):
        LMDBDataset(tmp_path / "ocp.lmdb")
    write_raw(tmp_path / "other.lmdb", {b"cat": b"x"})
    with pytest.raises(InputError, match="of another program"):
        LMDBDataset(tmp_path / "other.lmdb")
    newer = {"format": "molflt-lmdb", "version": 99}
    write_raw(tmp_path / "newer.lmdb", {b"__meta__": json.dumps(newer).encode()})
    with pytest.raises(InputError, match="format version 99"):
        LMDBDataset(tmp_path / "newer.lmdb")
    write_raw(tmp_path / "bad.lmdb", {b"__meta__": b"{"})
    with pytest.raises(InputError, match="damaged header"):
        LMDBDataset(tmp_path / "bad.lmdb")


WATER = {
    "z": np.array([8, 1], np.uint8),
    "pos": np.array([[0, 0, 0], [0, 0, 1.0]]),
    "sid": np.frombuffer(b"a", np.uint8),
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("z", np.array([8, 200], np.uint8)),
        ("z", np.array([8, 0], np.uint8)),
        ("z", np.array([8.0, 1.0])),
        ("z", np.zeros(0, np.uint8)),
        ("z", np.array(8, np.uint8)),
        ("pos", np.full((2, 3), np.nan)),
        ("pos", np.array([[0, 0, np.inf], [0, 0, -np.inf]])),
        ("pos", np.ones((3, 3))),
        ("pos", np.ones(2)),
        ("cell", np.ones((2, 2))),
        ("pbc", np.ones((1, 3), bool)),
        ("tags", np.array([7, 0], np.int8)),
        ("fixed", np.ones(3, bool)),
        ("energy", np.ones(4)),
        ("energy", np.array([np.nan])),
        ("forces", np.zeros(2)),
        ("batch", np.zeros(1)),
        ("sid", None),
        ("sid", np.array([255], np.uint8)),
        ("pos", None),
    ],
)
def test_values_that_are_no_graph_are_refused(path, field, value):
    arrays = {k: v for k, v in (WATER | {field: value}).items() if v is not None}
    write_raw(path, {bytes(8): zlib.compress(save(arrays))})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match=r"set\.lmdb, record 0 is damaged"):
            LMDBDataset(path)[0]


def test_a_record_of_another_size_than_listed_is_refused(path):
    first = LMDBDataset(path)[0]
    write_raw(path, {bytes(8): zlib.compress(save(WATER))})
    assert len(first.z) != 2
    with pytest.raises(InputError, match=f"it should have {len(first.z)} atoms"):
        LMDBDataset(path)[0]


@pytest.mark.parametrize(
    "change",
    [
        {"length": None},
        {"length": "x"},
        {"length": -1},
        {"length": 1e400},
        {"targets": None},
        {"targets": [{"name": "energy", "color": "red"}]},
        {"targets": [{"name": 5}]},
        {"targets": [{"name": "batch"}]},
        {"targets": [{"name": "e", "element_reference": [1]}]},
        {"metadata": 5},
        {"version": 1e400},
        {"version": 0},
        {"version": "new"},
    ],
)
def test_damaged_headers_are_one_sentence(path, change):
    with opened(path) as transaction:
        meta = json.loads(transaction.get(b"__meta__"))
    write_raw(path, {b"__meta__": json.dumps(meta | change).encode()})
    with pytest.raises(InputError, match=r"set\.lmdb .*damaged"):
        LMDBDataset(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [(b"__meta__", b"[" * 100_000), (b"__meta__", b"[]"), (b"__natoms__", b"abc")],
)
def test_headers_that_are_something_else(path, key, value):
    write_raw(path, {key: value})
    with pytest.raises(InputError, match=r"set\.lmdb has a damaged header"):
        LMDBDataset(path)


def test_a_damaged_length_does_not_kill_the_process(tmp_path):
    path = tmp_path / "set.lmdb"
    write_lmdb(path, random_graphs(3), targets=[ENERGY])
    content = bytearray(path.read_bytes())
    # A node of LMDB: low and high half of the length, flags, length of the key, key.
    key = (1).to_bytes(8, "big")
    start = content.index(bytes([0, 0, 8, 0]) + key) - 4
    content[start + 3] = 0x10  # 256 MB more
    path.write_bytes(content)
    read = f"LMDBDataset({str(path)!r})[1]"
    code = f"from molflt.data.lmdb.store import LMDBDataset; {read}"
    done = python("-c", code)
    assert done.returncode == 1
    assert "set.lmdb, record 1 is damaged" in done.stderr
