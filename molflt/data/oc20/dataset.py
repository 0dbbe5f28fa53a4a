"""LMDB files in OCP's layout: one pickled graph a record, keys "0", "1", ..."""

import io
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from torch_geometric.data import Data

from molflt.data.dataset import GraphDataset, place_of
from molflt.data.lmdb.file import LMDBReader
from molflt.data.molecule import make_graph
from molflt.data.npz import read_npz
from molflt.data.oc20.batch import read_batch
from molflt.data.oc20.inert_pickle import NONSENSE, PickleRefusedError, interpret
from molflt.data.oc20.record import ALLOWED, read_record
from molflt.data.progress import track
from molflt.errors import InputError
from molflt.files import atomic_path
from molflt.targets import TargetSpec

ADSORPTION_ENERGY = TargetSpec(
    "energy",
    unit="eV",
    kind="relaxed",
    reference="E(slab+adsorbate, relaxed) - E(slab) - E(gas: N2, H2O, CO, H2), DFT",
)
"""OC20's IS2RE target: adsorption energy after relaxation."""

FIELDS = (
    *("pos", "cell", "atomic_numbers", "natoms", "tags", "fixed", "sid"),
    *("y_relaxed", "pos_relaxed"),
)


class OCPDataset(GraphDataset):
    """Graphs of one file of OC20's IS2RE task, read when asked for.

    ``y_relaxed`` becomes the target ``energy``. Records with labels may also have
    ``pos_relaxed``; the first record decides, and all must agree with it.

    Args:
        path: The LMDB file.
        labelled: The records must have `y_relaxed`; None: as the first record.

    Raises:
        InputError: The file is missing, broken or empty.
    """

    def __init__(self, path: str | Path, *, labelled: bool | None = None) -> None:
        self.path = Path(path)
        self._reader = LMDBReader(path)
        self._length = self._count()
        first = self._fields(0)
        self.labelled = "y_relaxed" in first if labelled is None else labelled
        self._relaxed = "pos_relaxed" in first
        self._num_atoms: np.ndarray | None = None

    @property
    def targets(self) -> tuple[TargetSpec, ...]:
        """The adsorption energy."""
        return (ADSORPTION_ENERGY,)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Data:
        """Read one graph.

        Raises:
            IndexError: Past the end.
            InputError: The record is damaged, refused, or lacks a label.
        """
        index = place_of(index, self._length)
        fields, where = self._fields(index), self._where(index)
        if not self.labelled:
            fields.pop("y_relaxed", None)
        elif "y_relaxed" not in fields:
            raise InputError(f"{where}: the label y_relaxed is missing.")
        if not self._relaxed:
            fields.pop("pos_relaxed", None)
        elif "pos_relaxed" not in fields:
            raise InputError(f"{where}: pos_relaxed is missing, record 0 has it.")
        return ocp_graph(fields, index, where)

    @property
    def num_atoms(self) -> np.ndarray:
        """Atoms of each graph (len,) int64; counted once, then kept beside the file."""
        if self._num_atoms is None:
            self._num_atoms = self._cached_sizes()
        return self._num_atoms

    def _fields(self, index: int, names: tuple[str, ...] = FIELDS) -> dict[str, Any]:
        value = self._reader.get(str(index).encode(), index)
        if value is None:
            raise InputError(f"{self._where(index)} is missing.")
        return read_record(value, names, self._where(index))

    def _where(self, index: int) -> str:
        return f"{self.path}, record {index}"

    def _count(self) -> int:
        """Return the value of ``length``; without that key every entry is a record."""
        entries = self._reader.num_entries()
        stored = self._reader.get(b"length")
        if stored is None:
            count = entries
        else:
            count = interpret(io.BytesIO(stored), ALLOWED, f"{self.path}, length")
        if self._reader.get(b"0") is None:
            raise InputError(f"{self.path} has no record 0: not an LMDB of OCP.")
        if type(count) is not int or not 1 <= count <= entries:
            # Huge or nested values have no text that could be shown.
            plain = type(count) is int and abs(count) < 2**63
            words = f"{count} records" if plain else "no number of records"
            raise InputError(
                f"{self.path} says it has {words} and has {entries} entries."
            )
        return count

    def _cached_sizes(self) -> np.ndarray:
        status = self.path.stat()
        version = np.array([status.st_size, status.st_mtime_ns], dtype=np.int64)
        cache = self.path.with_name(f"{self.path.name}.natoms.npz")
        with suppress(InputError):  # no cache, or not one of ours: count
            sizes, of_version = read_npz(cache, ("natoms", "version"), "a cache")
            if sizes.shape == (len(self),) and np.array_equal(of_version, version):
                return sizes.astype(np.int64)
        indices = track(range(len(self)), f"sizes of {self.path.name}")
        sizes = np.array([self._size(index) for index in indices], dtype=np.int64)
        with (
            suppress(InputError),  # a folder that cannot be written to
            atomic_path(cache) as temporary,
            open(temporary, "wb") as file,
        ):
            np.savez(file, natoms=sizes, version=version)
        return sizes

    def _size(self, index: int) -> int:
        fields = self._fields(index, ("natoms",))
        size = fields.get("natoms")
        try:
            if size is None:
                size = len(self._fields(index, ("atomic_numbers",))["atomic_numbers"])
            count = int(np.asarray(size).reshape(-1)[0])
            if not 1 <= count < 2**31:
                raise ValueError("no number of atoms")
        except PickleRefusedError:
            raise
        except NONSENSE as error:
            raise InputError(
                f"{self._where(index)}: its number of atoms cannot be read."
            ) from error
        return count


def ocp_graph(fields: dict[str, Any], index: int, where: str) -> Data:
    """Make the graph of a decoded record: periodic in all directions, as OCP's is.

    Args:
        fields: `FIELDS` as far as the record has them.
        index: Number of the record, its id where it has none.
        where: File and record, named in errors.

    Raises:
        InputError: A field is missing or cannot be used.
    """
    try:
        return _graph(fields, index, where)
    except InputError:
        raise
    except NONSENSE as error:
        reason = str(error)[:200] or type(error).__name__
        raise InputError(f"{where} is damaged ({reason}).") from error


def _graph(fields: dict[str, Any], index: int, where: str) -> Data:
    for name in ("pos", "cell", "atomic_numbers"):
        if name not in fields:
            raise InputError(f"{where}: the field {name} is missing.")
    numbers = fields["atomic_numbers"]
    natoms = np.asarray(fields.get("natoms", np.size(numbers)))
    if natoms.size != 1 or (natoms != np.size(numbers)).any():
        raise InputError(
            f"{where}: natoms is {str(natoms.tolist())[:99]}, but there are "
            f"{np.size(numbers)} atomic numbers."
        )
    energy = fields.get("y_relaxed")
    return make_graph(
        numbers,
        fields["pos"],
        cell=fields["cell"],
        pbc=True,
        tags=fields.get("tags"),
        fixed=fields.get("fixed"),
        sid=_sid(fields.get("sid", index)),
        targets=None if energy is None else {"energy": energy},
        pos_relaxed=fields.get("pos_relaxed"),
        where=where,
    )


def _sid(value: Any) -> str:
    """Write an id that may be text, a number or a tensor of one number."""
    return value if isinstance(value, str) else str(np.asarray(value).reshape(-1)[0])


def read_ocp_batch(path: str | Path) -> Iterator[Data]:
    """Read the graphs of a batch that OCP's loader made and ``torch.save`` wrote.

    Raises:
        InputError: As `read_batch` and `ocp_graph`.
    """
    for index, fields in enumerate(read_batch(path, FIELDS)):
        yield ocp_graph(fields, index, f"{path}, record {index}")
