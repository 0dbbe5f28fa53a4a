"""QM9 packed into few arrays: fast to load, small in memory, cheap to take a graph of.

As safetensors on disk: species (a,) uint8 and positions (a, 3) float64 [Å] of all
atoms, the offsets (m + 1,) where molecules begin, upstream's numbers (m,) counted from
1, and the targets (m, 19) float64.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch_geometric.data import Data

from molflt.data.dataset import GraphDataset, place_of
from molflt.data.qm9.targets import QM9_TARGETS
from molflt.errors import InputError
from molflt.files import atomic_path

_FORMAT = "molflt-qm9-1"


class QM9Table(GraphDataset):
    """All molecules with the chosen labels.

    The graphs share the memory of the table: whoever changes one in place changes the
    data set.

    Args:
        arrays: ``z``, ``pos``, ``offsets``, ``number`` and ``y`` (module docstring).
        targets: Names of the labels that the graphs carry.
    """

    def __init__(self, arrays: dict[str, torch.Tensor], targets: Sequence[str]) -> None:
        self._z = arrays["z"].long()
        self._pos = arrays["pos"]
        self._number = arrays["number"].tolist()
        self._y = arrays["y"]
        self._offsets = arrays["offsets"].tolist()
        self._num_atoms = np.diff(arrays["offsets"].numpy())
        columns = {spec.name: index for index, spec in enumerate(QM9_TARGETS)}
        self._columns = [(name, columns[name]) for name in targets]
        # What all molecules share; views of these cost less than new tensors.
        most = int(self._num_atoms.max(initial=0))
        self._tags = torch.full((most,), -1)
        self._fixed = torch.zeros(most, dtype=torch.bool)
        self._cell = torch.zeros(1, 3, 3, dtype=torch.float64)
        self._pbc = torch.zeros(1, 3, dtype=torch.bool)

    def __len__(self) -> int:
        return len(self._number)

    def __getitem__(self, index: int) -> Data:
        index = place_of(index, len(self))
        start, stop = self._offsets[index], self._offsets[index + 1]
        labels = self._y[index]
        fields = {
            "z": self._z[start:stop],
            "pos": self._pos[start:stop],
            "cell": self._cell,
            "pbc": self._pbc,
            "tags": self._tags[: stop - start],
            "fixed": self._fixed[: stop - start],
            "sid": f"gdb_{self._number[index]}",
        }
        for name, column in self._columns:
            fields[name] = labels[column : column + 1]
        return Data(**fields)

    @property
    def num_atoms(self) -> np.ndarray:
        """Atoms of each molecule (m,)."""
        return self._num_atoms


def write_table(
    path: str | Path, graphs: Sequence[Data], values: np.ndarray, source: str
) -> None:
    """Pack graphs named ``gdb_<number>`` and their targets; the file appears whole.

    Args:
        path: File to write.
        graphs: Molecules.
        values: Targets (m, 19) in the order and units of `QM9_TARGETS`.
        source: Digest of the files they were read from.

    Raises:
        InputError: The file cannot be written.
    """
    sizes = [len(graph.z) for graph in graphs]
    numbers = [int(graph.sid.removeprefix("gdb_")) for graph in graphs]
    arrays = {
        "z": torch.cat([graph.z for graph in graphs]).numpy().astype(np.uint8),
        "pos": torch.cat([graph.pos for graph in graphs]).numpy(),
        "offsets": np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        "number": np.array(numbers, dtype=np.int64),
        "y": np.ascontiguousarray(values, dtype=np.float64),
    }
    with atomic_path(path) as temporary:
        save_file(arrays, temporary, metadata={"format": _FORMAT, "source": source})


def source_of(path: str | Path) -> str:
    """Return the digest of the files that a table was read from.

    Args:
        path: What `write_table` wrote, and `read_table` accepts.
    """
    with safe_open(path, framework="pt") as file:
        return str((file.metadata() or {})["source"])


def read_table(path: str | Path, source: str | None) -> dict[str, torch.Tensor] | None:
    """Return the arrays, or None if they were made from other files than `source`.

    Args:
        path: What `write_table` wrote; None is returned if it is missing.
        source: Expected digest of the sources; None: whatever they were.

    Raises:
        InputError: The file is damaged or not a table.
    """
    expected = {} if source is None else {"source": source}
    return read_arrays(path, _FORMAT, expected, "table of QM9")


def read_arrays(
    path: str | Path, form: str, expected: dict[str, str], what: str
) -> dict[str, torch.Tensor] | None:
    """Return the arrays of a file of safetensors, or None: no file, or another's.

    Args:
        path: The file.
        form: Its format.
        expected: Other metadata that it must have.
        what: Kind of file, for errors.

    Raises:
        InputError: The file is damaged or of another format.
    """
    if not Path(path).is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != form:
                raise InputError(f"{path} is no {what}; remove it.")
            if any(metadata.get(name) != value for name, value in expected.items()):
                return None
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged ({error}); remove it.") from error
