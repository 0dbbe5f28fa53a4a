"""QM9: 130,831 small organic molecules (H C N O F) with 19 properties from DFT."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor

from molflt.data.datamodule import GraphDataModule, Splits
from molflt.data.dataset import GraphDataset, GraphSubset, GraphUnion
from molflt.data.qm9.mmff import prepare_mmff
from molflt.data.qm9.source import (
    fetch_source,
    find_source,
    read_source,
    source_from_file,
)
from molflt.data.qm9.splits import Split, make_split
from molflt.data.qm9.table import QM9Table, read_table, source_of, write_table
from molflt.data.qm9.targets import qm9_targets
from molflt.data.repeats import repeat_rare
from molflt.errors import UsageError
from molflt.files import writing
from molflt.targets import TargetSpec

TABLE = Path("processed") / "qm9.safetensors"
MMFF_FILE = "qm9_mmff.safetensors"  # beside it
Geometry = Literal["dft", "mmff", "both"]


class QM9(GraphDataModule):
    """Molecules of QM9 with some of its targets, in a named split.

    Targets: `molflt.data.qm9.targets`. The energies ``u0``, ``u``, ``h``, ``g`` are
    total energies with upstream's energies of free atoms as element references;
    ``*_atom`` are atomisation energies. None of them has forces.

    Args:
        root: Folder of the data set, see `prepare_qm9`.
        target: One target or several.
        split: ``random:<seed>``, ``dimenet``, ``torchmdnet``, ``cormorant``, or the
            path of a stored split; see `molflt.data.qm9.splits`.
        num_train: Training molecules; None: as the split says. With ``mmff`` those of
            them count that have such a geometry, 88 %.
        num_val: Validation molecules; None: as the split says.
        num_test: Test molecules; None: all that are left.
        from_file: A qm9.zip, a gdb9.sdf, or a folder with them, instead of a download.
        batch_size: Molecules of a training batch.
        eval_batch_size: Molecules of a validation or test batch; None: `batch_size`.
        num_workers: Loader processes.
        seed: Seed of the order of training molecules, and of `max_train`.
        max_train: Use this many of the training structures, drawn at random; None: all.
        in_memory: Keep every graph that was made. The numbers are in memory either way;
            graphs take some 6 kB each and save 30 microseconds each time.
        geometry: ``dft``: positions of QM9; ``mmff``: of the nearest minimum of MMFF94,
            for models that will be given conformers of a SMILES (`mmff`);
            ``both``: training molecules at both, and sets ``val`` and ``test`` with
            the first, ``val_mmff`` and ``test_mmff`` with the second.
        least_share: Repeat training molecules so that those of each number of heavy
            atoms are about this share of an epoch. Of the 130,000, 50 have four or
            fewer, and a model that sees each once an epoch does not learn them.

    Raises:
        UsageError: An unknown target, split or geometry, or a number that does not fit.
    """

    def __init__(
        self,
        root: str | Path = "data/qm9",
        target: str | list[str] = "u0",
        split: str = "random:0",
        num_train: int | None = None,
        num_val: int | None = None,
        num_test: int | None = None,
        from_file: str | Path | None = None,
        batch_size: int = 32,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
        max_train: int | None = None,
        in_memory: bool = False,
        geometry: Geometry = "dft",
        least_share: float = 0.0,
    ) -> None:
        super().__init__(
            batch_size, eval_batch_size, num_workers, seed, max_train, in_memory
        )
        if geometry not in ("dft", "mmff", "both"):
            raise UsageError(f"geometry must be dft, mmff or both, not {geometry!r}.")
        if not 0.0 <= least_share < 1.0:
            raise UsageError(f"least_share must be in [0, 1), not {least_share}.")
        self._targets = qm9_targets(target)
        self._least_share = least_share
        self._geometry = geometry
        self.root = Path(root)
        self.from_file = from_file
        self._split_arguments = (split, num_train, num_val, num_test)
        self._split: Split | None = None

    @property
    def targets(self) -> tuple[TargetSpec, ...]:
        """The chosen targets."""
        return self._targets

    @property
    def description(self) -> str:
        """What checkpoints say of the data they were trained on."""
        places = {"mmff": " at minima of MMFF94", "both": ", also at minima of MMFF94"}
        return f"QM9{places.get(self._geometry, '')}"

    @property
    def split(self) -> Split:
        """Indices of the molecules of each part, with a fingerprint."""
        self.setup()
        assert self._split is not None
        return self._split

    def prepare_data(self) -> None:
        """Download and pack the molecules if that has not been done."""
        path = prepare_qm9(self.root, self.from_file)
        if self._geometry != "dft":
            arrays = read_table(path, None)
            assert arrays is not None
            prepare_mmff(path.with_name(MMFF_FILE), arrays, source_of(path))

    def load_splits(self) -> Splits:
        """Read the packed molecules, making them first where needed."""
        path = prepare_qm9(self.root, self.from_file)
        arrays = read_table(path, None)
        assert arrays is not None
        name, *counts = self._split_arguments
        self._split = split = make_split(name, len(arrays["number"]), *counts)
        heavy = _heavy_atoms(arrays)
        train: list[GraphDataset] = []
        val: dict[str, GraphDataset] = {}
        test: dict[str, GraphDataset] = {}
        for suffix, table, kept in self._tables(path, arrays):
            chosen = split.train[kept[split.train]]
            chosen = chosen[repeat_rare(heavy[chosen], self._least_share)]
            train.append(GraphSubset(table, chosen))
            val[f"val{suffix}"] = GraphSubset(table, split.val[kept[split.val]])
            test[f"test{suffix}"] = GraphSubset(table, split.test[kept[split.test]])
        return GraphUnion(train), val, test

    def _tables(
        self, path: Path, arrays: dict[str, Tensor]
    ) -> Iterator[tuple[str, QM9Table, np.ndarray]]:
        """Yield, for each geometry, a suffix, all molecules, and which have it."""
        names = [spec.name for spec in self._targets]
        if self._geometry != "mmff":
            yield "", QM9Table(arrays, names), np.ones(len(arrays["number"]), bool)
        if self._geometry != "dft":
            moved = prepare_mmff(path.with_name(MMFF_FILE), arrays, source_of(path))
            table = QM9Table(arrays | {"pos": moved["pos"]}, names)
            suffix = "_mmff" if self._geometry == "both" else ""
            yield suffix, table, moved["found"].numpy()


def _heavy_atoms(arrays: dict[str, Tensor]) -> np.ndarray:
    """Return the number of atoms other than hydrogen of each molecule (m,)."""
    before = np.concatenate([[0], np.cumsum(arrays["z"].numpy() > 1)])
    return np.diff(before[arrays["offsets"].numpy()])


def prepare_qm9(out: str | Path, from_file: str | Path | None = None) -> Path:
    """Make ``out/processed/qm9.safetensors``, unless it is there for the same files.

    Upstream's files are looked for in `out` and ``out/raw`` (PyG's layout); otherwise
    they are downloaded to ``out/raw``.

    Args:
        out: Folder of the data set; made if missing.
        from_file: A qm9.zip, a gdb9.sdf, or a folder with them, used where it is.

    Returns:
        The path of the packed molecules.

    Raises:
        InputError: A file is missing or damaged, or nothing can be downloaded.
    """
    out = Path(out)
    packed = out / TABLE
    source = find_source(out) if from_file is None else source_from_file(from_file)
    if source is None:
        if read_table(packed, None) is not None:
            return packed  # upstream's files were removed to save space
        source = fetch_source(out / "raw")
    digest = source.digest
    if read_table(packed, digest) is None:
        graphs, values = read_source(source)
        with writing(packed.parent):
            packed.parent.mkdir(parents=True, exist_ok=True)
        write_table(packed, graphs, values, digest)
    return packed
