"""molflt's own data file: one LMDB, no pickle, versioned, safe to read after a fork.

========================= ==========================================================
key                       value
========================= ==========================================================
8 bytes, big-endian index zlib of the safetensors bytes of one graph; no key: no field
``__natoms__``            atoms of each record, int32 little-endian
``__meta__``              JSON: format, version, length, targets, precision, metadata
========================= ==========================================================

On disk z is uint8, tags are int8, the id is its UTF-8 bytes; positions and other values
per atom are float64 or, if asked for, float32; energies and cells always float64.
Readers return the types of the table in `molflt.data.molecule`.
"""

import json
import operator
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from torch_geometric.data import Data

from molflt.data.dataset import GraphDataset, place_of
from molflt.data.lmdb.file import LMDBReader
from molflt.data.lmdb.record import Precision, decode, encode, label_names
from molflt.data.molecule import check_target_name, is_missing, with_missing
from molflt.data.progress import track
from molflt.errors import InputError
from molflt.files import atomic_path
from molflt.targets import TargetSpec

FORMAT = "molflt-lmdb"
VERSION = 1
_META_KEY, _NATOMS_KEY = b"__meta__", b"__natoms__"
_BAD_HEADER = (
    *(ValueError, LookupError, TypeError, AttributeError),  # other types, no such key
    *(OverflowError, RecursionError, MemoryError),  # absurd numbers, depth, sizes
)
_BATCH = 512  # records of one transaction
_FIRST_MAP_SIZE = 16 << 20


def write_lmdb(
    path: str | Path,
    graphs: Iterable[Data],
    *,
    targets: Sequence[TargetSpec],
    metadata: dict[str, Any] | None = None,
    total: int | None = None,
    progress: bool | None = False,
    precision: Precision = "float64",
    missing_labels: bool = False,
) -> int:
    """Write graphs as they come to one file that appears only when it is complete.

    Args:
        path: File to write; an older one is replaced.
        graphs: Graphs of `make_graph`; an empty `sid` becomes the index.
        targets: What the labels are; kept in the file.
        metadata: JSON-like facts about the data (source, licence, command).
        total: Number of graphs, for the progress bar.
        progress: Draw a bar; None: only on a terminal.
        precision: Of positions, forces and relaxed positions.
        missing_labels: Whether targets may be NaN, which says that there is no label.

    Returns:
        Number of graphs written.

    Raises:
        InputError: A record cannot be stored, the disk is full, or there are no graphs.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"Cannot write {path}: no such folder {path.parent}.")
    meta: dict[str, Any] = {"format": FORMAT, "version": VERSION}
    meta["targets"] = [spec.plain() for spec in targets]
    meta |= {"precision": precision, "metadata": metadata or {}}
    if missing_labels:
        meta["missing_labels"] = True
    try:
        with (
            tempfile.TemporaryDirectory(
                prefix=f".{path.stem}-", dir=path.parent
            ) as folder,
            lmdb.open(
                str(Path(folder) / "growing.lmdb"),
                subdir=False,
                map_size=_FIRST_MAP_SIZE,
                lock=False,
                sync=False,
            ) as environment,
        ):
            bar = track(graphs, path.name, total=total, show=progress)
            may_lack = [spec.name for spec in targets if missing_labels]
            sizes, complete = _write_records(
                environment, bar, path, precision, may_lack
            )
            if not complete:
                meta["missing_stress"] = True
            meta["length"] = len(sizes)
            natoms = np.array(sizes, dtype="<i4").tobytes()
            items = [(_META_KEY, json.dumps(meta).encode()), (_NATOMS_KEY, natoms)]
            _put(environment, items)
            with atomic_path(path) as temporary:
                temporary.unlink()  # LMDB copies only to a name that is free
                environment.copy(str(temporary), compact=True)
    except (OSError, lmdb.Error) as error:
        raise InputError(f"Cannot write {path}: {error}.") from error
    return len(sizes)


def _write_records(
    environment: lmdb.Environment,
    graphs: Iterable[Data],
    path: Path,
    precision: Precision,
    may_lack: Sequence[str],
) -> tuple[list[int], bool]:
    """Return the sizes of the records, and whether none lacks a stress."""
    sizes: list[int] = []
    complete = True
    labels: list[str] = []
    records = iter(graphs)
    while batch := list(islice(records, _BATCH)):
        items = []
        for graph in batch:
            index = len(sizes)
            where = f"{path}, record {index}"
            labels = labels or label_names(graph)
            if (found := label_names(graph)) != labels:
                # PyG makes no batch of graphs whose fields differ.
                raise InputError(
                    f"Cannot write {where}: its labels are {found}, those of the "
                    f"records before {labels}; one file needs the same for all."
                )
            value = encode(graph, index, precision, where, may_lack)
            complete &= "stress" not in graph or not is_missing(graph, "stress")
            items.append((index.to_bytes(8, "big"), value))
            sizes.append(len(graph.z))
        _put(environment, items)
    if not sizes:
        raise InputError(f"Cannot write {path}: there is no record to write.")
    return sizes, complete


def _put(environment: lmdb.Environment, items: list[tuple[bytes, bytes]]) -> None:
    """Append in one transaction; on a full map double it and try again."""
    while True:
        try:
            with environment.begin(write=True) as transaction:
                for key, value in items:
                    transaction.put(key, value, append=True)
            return
        except lmdb.MapFullError:
            environment.set_mapsize(2 * environment.info()["map_size"])


def is_molflt_lmdb(path: str | Path) -> bool:
    """Tell molflt's files from other LMDBs.

    Raises:
        InputError: It is no LMDB at all.
    """
    return LMDBReader(path).get(_META_KEY) is not None


class LMDBDataset(GraphDataset):
    """Graphs of a file of `write_lmdb`, read when asked for.

    The file is opened at first use in each process: a data set may be forked or pickled
    to loader processes.

    Args:
        path: The file.

    Raises:
        InputError: The file is missing, broken, or of another format or version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._reader = LMDBReader(path)
        meta = self._read_meta()
        try:
            self._length = operator.index(meta["length"])
            self.targets = tuple(map(TargetSpec.from_plain, meta["targets"]))
            self.metadata: dict[str, Any] = dict(meta["metadata"])
            self.missing_labels = bool(meta.get("missing_labels", False))
            self._may_lack = ["stress"] if meta.get("missing_stress") else []
            for spec in self.targets:
                check_target_name(spec.name)
                self._may_lack += [spec.name] * self.missing_labels
            sizes = np.frombuffer(self._reader.get(_NATOMS_KEY) or b"", dtype="<i4")
        except (*_BAD_HEADER, InputError) as error:
            raise self._damaged(error) from error
        if len(sizes) != self._length or self._length < 1 or sizes.min() < 1:
            raise InputError(
                f"{self.path} is damaged: it promises {self._length} records "
                f"and lists the sizes of {len(sizes)}."
            )
        self._num_atoms = sizes.astype(np.int64)

    def __len__(self) -> int:
        return self._length

    @property
    def num_atoms(self) -> np.ndarray:
        """Atoms of each graph (len,) int64."""
        return self._num_atoms

    def __getitem__(self, index: int) -> Data:
        """Read one graph.

        Raises:
            IndexError: Past the end.
            InputError: The record is missing or damaged.
        """
        index = place_of(index, self._length)
        value = self._reader.get(index.to_bytes(8, "big"), index)
        try:
            if value is None:
                raise ValueError("it is missing")
            graph = decode(value)
            if len(graph.z) != self._num_atoms[index]:
                raise ValueError(f"it should have {self._num_atoms[index]} atoms")
            names = [name for name in self._may_lack if name not in graph]
            return with_missing(graph, names)
        except ValueError as error:
            raise InputError(
                f"{self.path}, record {index} is damaged ({error})."
            ) from error

    def __iter__(self) -> Iterator[Data]:
        for index in range(self._length):
            yield self[index]

    def _read_meta(self) -> dict[str, Any]:
        raw = self._reader.get(_META_KEY)
        if raw is None:
            if self._reader.get(b"0") is not None:
                raise InputError(
                    f"{self.path} is an LMDB in the layout of OCP (pickled records); "
                    f"convert it with: molflt data convert {self.path} OUT.lmdb"
                )
            raise InputError(f"{self.path} is an LMDB of another program.")
        try:
            meta: dict[str, Any] = json.loads(raw)
            known = meta["format"] == FORMAT
            version = int(meta["version"])
            if version < 1:
                raise ValueError(f"version {version}")
        except _BAD_HEADER as error:
            raise self._damaged(error) from error
        if not known:
            raise InputError(f"{self.path} is an LMDB of another program.")
        if version > VERSION:
            raise InputError(
                f"{self.path} has format version {version}, this molflt reads up to "
                f"{VERSION}; install a newer molflt."
            )
        return meta

    def _damaged(self, error: Exception) -> InputError:
        reason = f"{type(error).__name__}: {error}"
        return InputError(f"{self.path} has a damaged header ({reason[:200]}).")
