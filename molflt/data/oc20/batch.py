"""A collated batch of graphs as `torch.save` writes it: a zip of a pickle and storages.

Read like the records of `record`: nothing in the file is executed.
"""

import io
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from molflt.data.oc20.inert_pickle import NONSENSE, interpret
from molflt.data.oc20.record import (
    ALLOWED,
    StorageReaders,
    Value,
    as_dict,
    decode_fields,
    graph_fields,
    graph_state,
)
from molflt.errors import InputError


def read_batch(path: str | Path, fields: Iterable[str]) -> list[dict[str, Value]]:
    """Read the graphs of a batch that was saved by ``torch.save``.

    Args:
        path: A file in torch's zip format that holds one collated PyG 2 batch.
        fields: Names of the fields.

    Returns:
        For each graph its fields, as `read_record`.

    Raises:
        InputError: Another kind of file, damaged, or not on the list.
    """
    path = Path(path)
    where = str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            root_file, storages = _zip_entries(archive, where)
            root = interpret(io.BytesIO(root_file), ALLOWED, where)
            values = decode_fields(graph_fields(root, where), fields, where, storages)
            edges = as_dict(graph_state(root, where).get("_slice_dict"), where)
            slices: dict[str, Any] = decode_fields(edges, values, where, storages)
    except FileNotFoundError as error:
        raise InputError(f"No such file: {path}.") from error
    except InputError:
        raise
    except (OSError, RuntimeError, zipfile.BadZipFile, *NONSENSE) as error:
        raise InputError(f"{path} is no file of torch.save ({error}).") from error
    try:
        count = min(len(edges) - 1 for edges in slices.values())
        return [
            {name: _piece(values[name], slices[name], index) for name in slices}
            for index in range(count)
        ]
    except NONSENSE as error:
        raise InputError(f"{where}: no batch of graphs ({error}).") from error


def _piece(value: Any, edges: Any, index: int) -> Any:
    if isinstance(value, list):
        return value[index]
    piece = value[int(edges[index]) : int(edges[index + 1])]
    return piece.item() if piece.shape == (1,) else piece


def _zip_entries(archive: zipfile.ZipFile, where: str) -> tuple[bytes, StorageReaders]:
    """Return data.pkl and, by key, readers of the storages beside it."""
    pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    # torch.save does not compress: without compression there is no zip bomb either.
    if len(pickles) != 1 or any(info.compress_type for info in archive.infolist()):
        raise InputError(f"{where} is no file of torch.save.")
    folder = pickles[0].removesuffix("data.pkl") + "data/"

    def reader(name: str) -> Callable[[int], bytes]:
        return lambda size: archive.read(name)[:size]

    names = [name for name in archive.namelist() if name.startswith(folder)]
    return archive.read(pickles[0]), {n.removeprefix(folder): reader(n) for n in names}
