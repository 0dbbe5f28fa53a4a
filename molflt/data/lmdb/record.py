"""One graph as bytes: zlib of safetensors, in compact types, without pickle."""

import math
import zlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch_geometric.data import Data

from molflt.data.molecule import (
    ARRAY_LABELS,
    ATOM_LABELS,
    STRUCTURE_FIELDS,
    check_target_name,
    is_missing,
    target_names,
)
from molflt.elements import MAX_Z
from molflt.errors import InputError

MAX_BYTES = 1 << 30  # after decompression; a million atoms need a tenth of it

# Shape (None: atoms) and kinds of NumPy types of the fields; others are scalar labels.
_LAYOUT: dict[str, tuple[tuple[int | None, ...], str]] = {
    "z": ((None,), "iu"),
    "pos": ((None, 3), "f"),
    "cell": ((1, 3, 3), "f"),
    "pbc": ((1, 3), "b"),
    "tags": ((None,), "iu"),
    "fixed": ((None,), "b"),
    "forces": ((None, 3), "f"),
    "pos_relaxed": ((None, 3), "f"),
    "stress": ((1, 3, 3), "f"),
}

Precision = Literal["float32", "float64"]


def label_names(graph: Data) -> list[str]:
    """Return the names of all labels of a graph, in one order."""
    return [name for name in ARRAY_LABELS if name in graph] + target_names(graph)


def encode(
    graph: Data,
    index: int,
    precision: Precision,
    where: str,
    may_lack: Sequence[str] = (),
) -> bytes:
    """Return the bytes of a graph; an empty `sid` becomes the index.

    Fields that say nothing (no lattice, no tags) are left out, and of the targets that
    a graph `may_lack`, and of the stress, those that are NaN.

    Raises:
        InputError: A field is not of the table in `molecule`, or not finite.
    """
    arrays = {
        "z": graph.z.numpy().astype(np.uint8),
        "pos": graph.pos.numpy().astype(precision),
        "sid": np.frombuffer((graph.sid or str(index)).encode(), dtype=np.uint8),
    }
    if graph.cell.any():
        arrays["cell"] = graph.cell.numpy()
    if graph.pbc.any():
        arrays["pbc"] = graph.pbc.numpy()
    if (graph.tags != -1).any():
        arrays["tags"] = graph.tags.numpy().astype(np.int8)
    if graph.fixed.any():
        arrays["fixed"] = graph.fixed.numpy()
    for name in label_names(graph):
        if name in (*may_lack, "stress") and is_missing(graph, name):
            continue
        value = graph[name]
        if name in ATOM_LABELS:
            arrays[name] = value.numpy().astype(precision)
            continue
        if name in ARRAY_LABELS:
            arrays[name] = value.numpy().astype(np.float64)
            continue
        if not isinstance(value, torch.Tensor) or value.numel() != 1:
            raise InputError(f"{where}: field {name!r} is not a scalar label.")
        arrays[name] = value.numpy().astype(np.float64).reshape(1)
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"{where}: {name} is not finite.")
    return zlib.compress(save({k: np.ascontiguousarray(v) for k, v in arrays.items()}))


def decode(value: bytes) -> Data:
    """Return the graph, in the types of the table in `molecule`.

    Raises:
        ValueError: The bytes are damaged, or the values are none of a graph: shapes,
            species, tags, a number that is not finite, pbc without a lattice.
    """
    inflate = zlib.decompressobj()
    try:
        raw = inflate.decompress(value, MAX_BYTES)
        if not inflate.eof:
            raise ValueError(f"cut short or larger than {MAX_BYTES} bytes")
        arrays = load(raw)
        _check(arrays)
        return _from_arrays(arrays)
    except (InputError, zlib.error, SafetensorError) as error:
        raise ValueError(str(error)) from error
    except (KeyError, TypeError, MemoryError) as error:
        raise ValueError(f"{type(error).__name__} {error}") from error


@np.errstate(all="ignore")
def _check(arrays: dict[str, np.ndarray]) -> None:
    """Raise ValueError for what `encode` never writes; a few µs a field."""
    n = arrays["z"].size
    if n == 0:
        raise ValueError("it has no atoms")
    for name, array in arrays.items():
        if name == "sid":
            continue
        shape, kinds = _LAYOUT.get(name, ((1,), "f"))
        expected = tuple(n if length is None else length for length in shape)
        if array.shape != expected or array.dtype.kind not in kinds:
            raise ValueError(
                f"{name} has shape {array.shape} and type {array.dtype}, not {expected}"
            )
        # A sum is not finite if a term is not; only then every number is looked at.
        if (
            kinds == "f"
            and not math.isfinite(array.sum(dtype=np.float64))
            and not np.isfinite(array).all()
        ):
            raise ValueError(f"{name} is not finite")
    if arrays["z"].min() < 1 or arrays["z"].max() > MAX_Z:
        raise ValueError(f"atomic numbers are outside 1 to {MAX_Z}")
    if "tags" in arrays and (arrays["tags"].min() < -1 or arrays["tags"].max() > 2):
        raise ValueError("tags are outside -1 to 2")
    if "pbc" in arrays and arrays["pbc"].any():
        cell = arrays.get("cell")
        if cell is None or not cell[0][arrays["pbc"][0]].any(axis=1).all():
            raise ValueError("a periodic direction has no lattice vector")
    for name in set(arrays) - {*_LAYOUT, "sid"}:
        check_target_name(name)


def _from_arrays(arrays: dict[str, np.ndarray]) -> Data:
    n = len(arrays["z"])
    fields: dict[str, Any] = {
        "z": arrays["z"].astype(np.int64),
        "pos": arrays["pos"].astype(np.float64),
        "cell": arrays.get("cell", np.zeros((1, 3, 3))),
        "pbc": arrays.get("pbc", np.zeros((1, 3), dtype=bool)),
        "tags": arrays.get("tags", np.full(n, -1)).astype(np.int64),
        "fixed": arrays.get("fixed", np.zeros(n, dtype=bool)),
    }
    labels = sorted(set(arrays) - {*STRUCTURE_FIELDS, "sid"})
    fields |= {name: arrays[name].astype(np.float64) for name in labels}
    # torch wants memory of its own that may be written to.
    tensors: dict[str, Any] = {
        name: torch.from_numpy(array.copy()) for name, array in fields.items()
    }
    return Data(**tensors, sid=arrays["sid"].tobytes().decode())
