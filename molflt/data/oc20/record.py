"""Records of OC20's files: pickled `torch_geometric` graphs, read without pickle.

The records were made by ``pickle.dumps(torch_geometric.data.Data)`` of PyG 1.x (fields
in the instance dictionary) or 2.x (fields in ``_store._mapping``). `inert_pickle` turns
them into a tree of notes, of which this module understands tensors, NumPy arrays and
numbers; neither PyG nor pickle nor torch.load is involved.
"""

import io
import re
import struct
from collections.abc import Callable, Iterable
from functools import reduce
from operator import mul
from typing import Any

import numpy as np

from molflt.data.oc20.inert_pickle import (
    MAPPINGS,
    NONSENSE,
    Call,
    Name,
    PickleRefusedError,
    Reference,
    interpret,
)
from molflt.errors import InputError

_STORAGES = {
    Name("torch", f"{kind}Storage"): np.dtype(dtype)
    for kind, dtype in {
        "Float": "<f4",
        "Double": "<f8",
        "Half": "<f2",
        "Long": "<i8",
        "Int": "<i4",
        "Short": "<i2",
        "Char": "i1",
        "Byte": "u1",
        "Bool": "?",
    }.items()
}
_REBUILD = {
    Name("torch._utils", "_rebuild_tensor_v2"),
    Name("torch._utils", "_rebuild_tensor"),
}
_LOAD_STORAGE = Name("torch.storage", "_load_from_bytes")
_ENCODE = Name("_codecs", "encode")  # how protocol 2 writes bytes
_DTYPE = Name("numpy", "dtype")
_NUMPY = ("numpy.core", "numpy._core")
_SCALAR = {Name(f"{core}.multiarray", "scalar") for core in _NUMPY}
_ARRAY = {Name(f"{core}.multiarray", "_reconstruct") for core in _NUMPY}
_FROM_BUFFER = {Name(f"{core}.numeric", "_frombuffer") for core in _NUMPY}
_PYG = {
    Name("torch_geometric.data.data", "Data"),
    Name("torch_geometric.data.data", "DataEdgeAttr"),
    Name("torch_geometric.data.data", "DataTensorAttr"),
    Name("torch_geometric.data.storage", "BaseStorage"),
    Name("torch_geometric.data.storage", "GlobalStorage"),
    Name("torch_geometric.data.batch", "Batch"),
    Name("torch_geometric.data.batch", "DynamicInheritanceGetter"),
}
ALLOWED = frozenset(
    MAPPINGS
    | {Name("builtins", "dict"), Name("__builtin__", "dict"), Name("numpy", "ndarray")}
    | {_LOAD_STORAGE, _ENCODE, _DTYPE}
    | {*_STORAGES, *_REBUILD, *_SCALAR, *_ARRAY, *_FROM_BUFFER, *_PYG}
)
"""Every name a record may mention; none of them is imported."""

_LONGEST_TEXT = 256  # of a text in a list, such as an id
_DTYPE_CODE = re.compile(r"[iuf][1248]|b1")
_MAGIC = 0x1950A86A20F9469CFC6C  # of torch.save before its zip format
StorageReaders = dict[str, Callable[[int], bytes]]
"""By key: returns the first so many bytes of a storage beside the pickle."""

Value = np.ndarray | float | int | str | bool | None


def read_record(value: bytes, fields: Iterable[str], where: str) -> dict[str, Value]:
    """Read some fields of one pickled graph.

    Args:
        value: The pickle.
        fields: Names of the fields; the others are not decoded.
        where: File and record, for errors.

    Returns:
        Arrays, numbers and strings by field; fields that are absent or None are left
        out.

    Raises:
        InputError: Not a pickled graph, damaged, or asks for anything that is not on
            the list `ALLOWED` (nothing is executed).
    """
    root = interpret(io.BytesIO(value), ALLOWED, where)
    return decode_fields(graph_fields(root, where), fields, where)


def graph_fields(root: Any, where: str) -> dict[str, Any]:
    """Return the undecoded fields of a graph of PyG 1.x or 2.x.

    Raises:
        InputError: The pickle holds something else.
    """
    state = graph_state(root, where)
    return as_dict(state.get("_mapping", state), where)


def graph_state(root: Any, where: str) -> dict[str, Any]:
    """Return the state of a graph (PyG 1.x) or of its store (PyG 2.x)."""
    state = as_dict(root.state if isinstance(root, Call) else None, where)
    store = state.get("_store")
    return as_dict(store.state, where) if isinstance(store, Call) else state


def as_dict(value: Any, where: str) -> dict[Any, Any]:
    """Return the value, which must be a dictionary; InputError if not."""
    if not isinstance(value, dict):
        raise InputError(f"{where}: no graph of torch_geometric.")
    return value


def decode_fields(
    mapping: dict[str, Any],
    fields: Iterable[str],
    where: str,
    storages: StorageReaders | None = None,
) -> dict[str, Value]:
    """Decode those fields that are there and not None.

    Raises:
        InputError: A field is neither tensor nor number, or damaged.
    """
    reader = _Reader(where, storages or {})
    values = {}
    for name in fields:
        if mapping.get(name) is not None:
            try:
                values[name] = reader.value(mapping[name])
            except PickleRefusedError:
                raise
            except (*NONSENSE, struct.error) as error:
                reason = str(error)[:200] or type(error).__name__
                raise InputError(
                    f"{where}: field {name!r} is damaged ({reason})."
                ) from error
    return values


class _Reader:
    """Turn notes into arrays and numbers; ValueError where they make no sense."""

    def __init__(self, where: str, storages: StorageReaders) -> None:
        self._where = where
        self._storages = storages

    def value(self, note: Any) -> Any:
        """Decode one field."""
        if note is None or isinstance(note, str | bool | int | float | np.ndarray):
            return note
        if isinstance(note, list | tuple):
            # Numbers and text only: each reference of two bytes to a list or an array
            # would become another copy of it.
            if not all(_scalar(item) for item in note):
                raise ValueError("a list of other things than numbers and short texts")
            return [self.value(item) for item in note]
        if isinstance(note, Call):
            if note.function in _REBUILD:
                return self._tensor(note.arguments)
            if note.function in _ARRAY:
                return self._array(note.state)
            if note.function in _SCALAR:
                dtype, raw = note.arguments
                return self._from_bytes(raw, dtype, (1,))[0].item()
            if note.function in _FROM_BUFFER:
                raw, dtype, shape, order = note.arguments
                return self._from_bytes(raw, dtype, shape, order)
        raise ValueError(f"neither tensor nor number: {type(note).__name__}")

    def _tensor(self, arguments: tuple[Any, ...]) -> np.ndarray:
        storage, offset, size, stride = arguments[:4]
        flat = self._storage(storage)
        size, stride = _whole(size), _whole(stride)
        offset = _whole((offset,))[0]
        last = sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        # An expanded tensor (stride 0) could claim any size: none is ever pickled.
        count: int = reduce(mul, size, 1)
        if count > len(flat) or (count and offset + last >= len(flat)):
            raise ValueError(f"shape {size} does not fit into {len(flat)} elements")
        view = np.lib.stride_tricks.as_strided(
            flat[offset:], size, [step * flat.itemsize for step in stride]
        )
        return view.copy()

    def _storage(self, note: Any) -> np.ndarray:
        if isinstance(note, Reference):
            dtype, key, count = _storage_key(note)
            if key not in self._storages:
                raise ValueError(f"storage {key!r} is missing")
            raw = self._storages[key](count * dtype.itemsize)
            return np.frombuffer(raw, dtype, count)
        if isinstance(note, Call) and note.function == _LOAD_STORAGE:
            return self._legacy_storage(self._bytes(note.arguments[0]))
        raise ValueError("a tensor without storage")

    def _legacy_storage(self, data: bytes) -> np.ndarray:
        """Read torch.save's older format: five pickles, a count, the elements."""
        stream = io.BytesIO(data)
        magic, _, system, root, keys = (
            interpret(stream, ALLOWED, self._where) for _ in range(5)
        )
        if magic != _MAGIC or not system["little_endian"]:
            raise ValueError("no storage of torch.save")
        dtype, key, count = _storage_key(root)
        (stored,) = struct.unpack("<q", stream.read(8))
        if keys != [key] or stored != count:
            raise ValueError("a storage of another size")
        return np.frombuffer(data, dtype, count, offset=stream.tell())

    def _array(self, state: Any) -> np.ndarray:
        _, shape, dtype, fortran, raw = state
        return self._from_bytes(raw, dtype, shape, "F" if fortran else "C")

    def _from_bytes(
        self, raw: Any, dtype: Any, shape: Any, order: str = "C"
    ) -> np.ndarray:
        if not isinstance(dtype, Call) or dtype.function != _DTYPE:
            raise ValueError("an array without dtype")
        code = dtype.arguments[0]
        if not isinstance(code, str) or not _DTYPE_CODE.fullmatch(code):
            raise ValueError(f"an array of dtype {code!r}")
        byteorder = ">" if dtype.state and dtype.state[1] == ">" else "<"
        flat = np.frombuffer(self._bytes(raw), np.dtype(byteorder + code))
        if order == "F":
            return flat.reshape(_whole(shape)[::-1]).T.astype(code)
        return flat.reshape(_whole(shape)).astype(code)

    def _bytes(self, note: Any) -> bytes:
        if isinstance(note, Call) and note.function == _ENCODE:
            text, encoding = note.arguments
            if encoding != "latin1" or not isinstance(text, str):
                raise ValueError("bytes in an unknown encoding")
            return text.encode("latin1")
        if not isinstance(note, bytes | bytearray):
            raise ValueError("no bytes where some are needed")
        return bytes(note)


def _scalar(note: Any) -> bool:
    if isinstance(note, str):
        return len(note) <= _LONGEST_TEXT
    if isinstance(note, Call):
        return note.function in _SCALAR
    return note is None or isinstance(note, bool | int | float)


def _storage_key(note: Any) -> tuple[np.dtype[Any], str, int]:
    if not isinstance(note, Reference) or not isinstance(note.key, tuple):
        raise ValueError("a storage without key")
    kind, storage, key, _, count = note.key[:5]
    known = isinstance(storage, Name) and storage in _STORAGES
    if kind != "storage" or not known or not isinstance(key, str):
        raise ValueError("a storage of unknown type")
    return _STORAGES[storage], key, _whole((count,))[0]


def _whole(values: Any) -> tuple[int, ...]:
    whole = tuple(values)
    if len(whole) > 32 or any(type(n) is not int or not 0 <= n < 2**40 for n in whole):
        raise ValueError("sizes that make no sense")
    return whole
