"""Strangers' pickles: nothing runs, and nothing damaged gets through."""

import functools
import io
import os
import pickle
import pickletools
import struct
import zipfile

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from molflt.data.oc20.batch import read_batch
from molflt.data.oc20.record import ALLOWED
from molflt.errors import InputError
from tests.data.ocp_files import FIELDS, pyg1, pyg2, read, slab_fields


class Calls:
    """Pickles as a call of any function with any arguments."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def touch(path):
    return f"open({str(path)!r}, 'w').close()"


def nested_storage(payload):
    """A tensor whose storage is a second pickle that torch.load would run."""
    return Calls(torch.storage._load_from_bytes, pickle.dumps(payload))


ATTACKS = {
    "system": lambda path: Calls(os.system, f"touch {path}"),
    "eval": lambda path: Calls(eval, touch(path)),
    "exec": lambda path: Calls(exec, touch(path)),
    "getattr": lambda path: Calls(getattr, Data, "__init__"),
    "partial": lambda path: functools.partial(exec, touch(path)),
    "map": lambda path: Calls(map, exec, [touch(path)]),
    "torch.load": lambda path: Calls(torch.load, str(path)),
    "import": lambda path: Calls(__import__, "antigravity"),
    "class": lambda path: Calls(type, "Data", (object,), {}),
}


def inside_storage(attack):
    tensor = torch.ones(2)
    arguments = (attack, 0, (2,), (1,), False, {})
    return Data(pos=Calls(torch._utils._rebuild_tensor_v2, *arguments), z=tensor)


PLACES = {
    "root": lambda attack: attack,
    "field": lambda attack: Data(pos=attack),
    "unread field": lambda attack: Data(pos=torch.ones(1, 3), other=attack),
    "list": lambda attack: Data(pos=[torch.ones(1), [attack]]),
    "tensor": inside_storage,
    "storage": lambda attack: inside_storage(nested_storage(attack)),
    "object array": lambda attack: Data(pos=np.array([attack, None], dtype=object)),
}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("attack", ATTACKS)
def test_no_attack_runs(tmp_path, attack, place, protocol):
    sentinel = tmp_path / "ran"
    payload = PLACES[place](ATTACKS[attack](sentinel))
    record = pickle.dumps(payload, protocol=protocol)
    with pytest.raises(InputError, match=r"^train\.lmdb, record 7: .*not executed"):
        read(record)
    torch.save(payload, tmp_path / "batch.pt")
    with pytest.raises(InputError):
        read_batch(tmp_path / "batch.pt", FIELDS)
    assert not sentinel.exists()


def test_the_attacks_would_work_on_pickle(tmp_path):
    """Otherwise the test above proves nothing."""
    for name in ("system", "eval", "exec"):
        sentinel = tmp_path / name
        for place in ("field", "list"):
            pickle.loads(pickle.dumps(PLACES[place](ATTACKS[name](sentinel))))
            assert sentinel.exists()
            sentinel.unlink()


def program(*parts):
    """A pickle of protocol 4 out of opcodes and texts."""
    body = b"".join(
        part
        if isinstance(part, bytes)
        else pickle.SHORT_BINUNICODE + struct.pack("<B", len(part)) + part.encode()
        for part in parts
    )
    return pickle.PROTO + b"\x04" + body + pickle.STOP


DATA = ("torch_geometric.data.data", "Data", pickle.STACK_GLOBAL)


@pytest.mark.parametrize(
    "record",
    [
        program("torch", "os.system", pickle.STACK_GLOBAL),
        program("torch_geometric.data.data", "Data.__init__", pickle.STACK_GLOBAL),
        program("torch_geometric.data.data", "torch", pickle.STACK_GLOBAL),
        program("numpy", "load", pickle.STACK_GLOBAL),
        program("numpy.core.multiarray", "fromfile", pickle.STACK_GLOBAL),
        program("collections", "namedtuple", pickle.STACK_GLOBAL),
        program("_codecs", "decode", pickle.STACK_GLOBAL),
        program(pickle.GLOBAL + b"os\nsystem\n"),
        program(pickle.MARK, pickle.INST + b"os\nsystem\n"),
        program(pickle.MARK, *DATA, pickle.OBJ),
        program(*DATA, pickle.EMPTY_TUPLE, pickle.EMPTY_DICT, pickle.NEWOBJ_EX),
        program(pickle.EXT1 + b"\x01"),
        program(pickle.PERSID + b"0\n"),
        program(pickle.NEXT_BUFFER),
        program(pickle.EMPTY_SET),
    ],
)
def test_names_and_instructions_off_the_list_are_refused(record):
    with pytest.raises(InputError, match="not executed"):
        read(record)


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"hello",
        pyg2(slab_fields())[:-40],
        pickle.STOP,
        program(pickle.NONE, pickle.REDUCE),
        program(*DATA, pickle.EMPTY_DICT, pickle.BUILD),  # a state on the class itself
        program("a", pickle.EMPTY_DICT, pickle.BUILD),
        program(pickle.EMPTY_DICT, pickle.EMPTY_LIST, pickle.NONE, pickle.SETITEM),
        program(pickle.EMPTY_DICT, pickle.MARK, "a", pickle.SETITEMS),
        program(pickle.BINGET + b"\x07"),
        program(pickle.TUPLE),
        program("text"),
        program(*DATA),
        program(pickle.LONG4 + b"\xff\xff\xff\x7f"),
    ],
)
def test_damaged_pickles_are_one_sentence(record):
    with pytest.raises(InputError, match=r"^train\.lmdb, record 7: (damaged|no graph)"):
        read(record)


def test_every_prefix_and_flipped_byte_is_survived():
    record = pyg1(slab_fields())
    rng = np.random.default_rng(0)
    for cut in rng.integers(0, len(record), 200):
        with pytest.raises(InputError):
            read(record[:cut])
    for position in rng.integers(0, len(record), 500):
        changed = bytearray(record)
        changed[position] ^= int(rng.integers(1, 256))
        try:
            read(bytes(changed))
        except InputError as error:
            assert "record 7" in str(error)  # noqa: PT017


def with_tensor(storage, offset, size, stride):
    arguments = (storage, offset, size, stride, False, {})
    return pickle.dumps(Data(pos=Calls(torch._utils._rebuild_tensor_v2, *arguments)))


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (1 << 39,), (0,)),
        (0, (1 << 39, 1 << 39), (0, 0)),
        (0, (1 << 70,), (1,)),
        (0, (-1,), (1,)),
        (0, (3,), (-1,)),
        (0, (4,), (1,)),
        (2, (2,), (1,)),
        (0, (2, 2), (2, 1)),
        (0, (1,) * 80, (1,) * 80),
        (0, (3, 1), (1,)),
        (0, (True,), (1,)),
        (0, "abc", (1, 1, 1)),
        (0.5, (1,), (1,)),
    ],
)
def test_sizes_that_do_not_fit_are_refused(offset, size, stride):
    storage = torch.ones(3).storage()
    with pytest.raises(InputError, match="field 'pos' is damaged"):
        read(with_tensor(storage, offset, size, stride))


def test_a_storage_shorter_than_it_says_is_refused():
    good = pickle.dumps(Data(pos=torch.ones(3)))
    count = pickle.BININT1 + b"\x03" + pickle.NONE
    assert good.count(count) == 1
    for claim in (b"\x04", b"\xff"):
        with pytest.raises(InputError, match="'pos' is damaged"):
            read(good.replace(count, pickle.BININT1 + claim + pickle.NONE))


def test_few_bytes_cannot_become_many():
    laughs = [0] * 8
    for _ in range(40):
        laughs = [laughs] * 8
    with pytest.raises(InputError, match="'pos' is damaged"):
        read(pickle.dumps(Data(pos=laughs)))


@pytest.mark.parametrize(
    "item", [np.zeros(100_000), torch.zeros(100_000), "x" * 100_000]
)
def test_references_to_one_thing_do_not_multiply_it(item):
    record = pickle.dumps(Data(pos=[item] * 1000), protocol=4)
    with pytest.raises(InputError, match="'pos' is damaged .a list of other things"):
        read(record)
    short = pickle.dumps(Data(pos=["x", 1, 2.0, np.float32(3), np.int64(4)]))
    assert read(short)["pos"] == ["x", 1, 2.0, 3.0, 4]


def test_depth_does_not_overflow_the_stack():
    deep = pickle.TUPLE1 * 200_000
    for record in (
        program(pickle.EMPTY_TUPLE, deep),
        program(pickle.EMPTY_DICT, pickle.EMPTY_TUPLE, deep, pickle.NONE, b"s"),
        program(pickle.EMPTY_TUPLE, deep, "x", pickle.STACK_GLOBAL),
    ):
        with pytest.raises(InputError):
            read(record)


def test_compressed_archives_are_refused(tmp_path):
    torch.save(Data(pos=torch.zeros(1000, 3)), tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(tmp_path / "zip.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    with pytest.raises(InputError, match="no file of torch.save"):
        read_batch(tmp_path / "zip.pt", ["pos"])


def test_no_listed_name_can_start_a_program():
    """The list holds classes of data only, and the loader that we replace."""
    for name in ALLOWED:
        assert "." not in name.name
        assert name.module.split(".")[0] in {
            *("torch", "torch_geometric", "numpy", "collections", "_codecs"),
            *("builtins", "__builtin__"),
        }
    builtin = {name for name in ALLOWED if name.module.endswith(("builtins", "in__"))}
    assert {name.name for name in builtin} == {"dict"}


def test_records_use_only_instructions_that_were_seen():
    """The double of PyG 1.x is what PyG 1.x wrote: NEWOBJ of Data, then BUILD."""
    stream = io.BytesIO(pyg1({"natoms": 3}))
    names = [opcode.name for opcode, _, _ in pickletools.genops(stream)]
    assert names[2:9:2] == ["SHORT_BINUNICODE"] * 2 + ["STACK_GLOBAL", "EMPTY_TUPLE"]
    assert names[-2:] == ["BUILD", "STOP"]
