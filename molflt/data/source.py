"""One way to read the records of any file that molflt knows, for checks and converters.

The formats: molflt's LMDB, OCP's LMDB, a batch of OCP saved by torch, and all of ASE's.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch_geometric.data import Data

from molflt.data.dataset import GraphDataset
from molflt.data.formats.structure_files import iterate_structures
from molflt.data.labels.labelled_frames import frame_graph
from molflt.data.labels.rules import DEFAULT_RULES, LabelRules
from molflt.data.lmdb.record import Precision
from molflt.data.lmdb.store import LMDBDataset, is_molflt_lmdb
from molflt.data.oc20.dataset import ADSORPTION_ENERGY, OCPDataset, read_ocp_batch
from molflt.errors import InputError
from molflt.targets import TargetSpec

FILE_FORMAT = "structure file"
OWN_FORMAT = "LMDB of molflt"

Record = Callable[[], Data]
"""Reads one graph; raises InputError if that record cannot be used."""


@dataclass(frozen=True)
class Source:
    """A file that was opened, its records still to be read."""

    path: Path
    format: str
    targets: tuple[TargetSpec, ...]
    records: Iterator[Record]
    length: int | None = None
    precision: Precision = "float64"  # of its positions
    metadata: dict[str, Any] = field(default_factory=dict)
    missing_labels: bool = False  # whether not every record has all of them


def data_files(path: str | Path) -> list[Path]:
    """Return the file itself, or all LMDB files below a folder, sorted.

    Raises:
        InputError: No such file or folder, or a folder without LMDB files.
    """
    path = Path(path)
    if not path.is_dir():
        if not path.exists():
            raise InputError(f"No such file or folder: {path}.")
        return [path]
    files = sorted(path.rglob("*.lmdb"))
    if not files:
        raise InputError(f"{path} is a folder without LMDB files; name a file.")
    return files


def open_source(
    path: str | Path, rules: LabelRules = DEFAULT_RULES, *, need_labels: bool = True
) -> Source:
    """Open a file of any known format.

    Args:
        path: The file; of `iterate_structures` unless it ends in ``.lmdb``, ``.mdb``
            or ``.pt``.
        rules: How labels of such files are read.
        need_labels: A record without labels is an error when it is read.

    Raises:
        InputError: The file is missing or broken.
    """
    path = Path(path)
    if path.suffix in (".lmdb", ".mdb"):
        if is_molflt_lmdb(path):
            own = LMDBDataset(path)
            return Source(
                *(path, OWN_FORMAT, own.targets, _by_index(own), len(own)),
                metadata=own.metadata,
                missing_labels=own.missing_labels,
            )
        ocp = OCPDataset(path, labelled=True if need_labels else None)
        return Source(
            *(path, "LMDB of OCP", ocp.targets, _by_index(ocp), len(ocp), "float32")
        )
    if path.suffix == ".pt":
        batch = list(read_ocp_batch(path))
        targets, records = (ADSORPTION_ENERGY,), _by_index(batch)
        return Source(*(path, "batch of OCP", targets, records, len(batch), "float32"))
    frames = (
        partial(frame_graph, where, atoms, rules, need_labels)
        for where, atoms in iterate_structures(path)
    )
    return Source(
        *(path, FILE_FORMAT, rules.specs, frames), missing_labels=rules.missing_labels
    )


def _by_index(graphs: GraphDataset | Sequence[Data]) -> Iterator[Record]:
    return (partial(graphs.__getitem__, index) for index in range(len(graphs)))
