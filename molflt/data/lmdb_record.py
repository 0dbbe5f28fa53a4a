"""One graph as bytes: zlib of safetensors, in compact types, without pickle."""

import zlib
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch_geometric.data import Data

from molflt.data.molecule import ATOM_LABELS, STRUCTURE_FIELDS, assemble, target_names
from molflt.errors import InputError

MAX_BYTES = 1 << 30  # after decompression; a million atoms need a tenth of it

Precision = Literal["float32", "float64"]


def label_names(graph: Data) -> list[str]:
    """Return the names of all labels of a graph, in one order."""
    return [name for name in ATOM_LABELS if name in graph] + target_names(graph)


def encode(graph: Data, index: int, precision: Precision, where: str) -> bytes:
    """Return the bytes of a graph; an empty `sid` becomes the index.

    Fields that say nothing (no lattice, no tags) are left out.

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
        value = graph[name]
        if name in ATOM_LABELS:
            arrays[name] = value.numpy().astype(precision)
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
        ValueError: The bytes are damaged.
    """
    inflate = zlib.decompressobj()
    try:
        raw = inflate.decompress(value, MAX_BYTES)
        if not inflate.eof:
            raise ValueError(f"cut short or larger than {MAX_BYTES} bytes")
        return _from_arrays(load(raw))
    except (KeyError, zlib.error, SafetensorError) as error:
        raise ValueError(str(error)) from error


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
    return assemble(tensors | {"sid": arrays["sid"].tobytes().decode()})
