"""Revised MD17: 100,000 geometries each of ten small molecules, with forces (PBE).

Two layouts of files are read, without pickle:

- the archive's: ``npz_data/rmd17_<molecule>.npz`` and
  ``splits/index_{train,test}_0k.csv``;
- one file a part: ``rmd17_<molecule>_{train,test}_0k.npz``.

Energies and forces are in kcal/mol and kcal/(mol Å) and become eV and eV/Å. The
authors advise against training on more than 1,000 geometries, as neighbouring frames
of one trajectory resemble each other. Source: A. S. Christensen, O. A. von Lilienfeld,
Mach. Learn.: Sci. Technol. 1, 045018 (2020); CC0.
"""

from pathlib import Path

import numpy as np
from torch_geometric.data import Data

from molflt.data.datamodule import GraphDataModule, Splits
from molflt.data.dataset import GraphDataset, GraphList, GraphSubset
from molflt.data.molecule import make_graph
from molflt.data.npz import read_npz
from molflt.data.progress import track
from molflt.errors import InputError, UsageError
from molflt.targets import TargetSpec
from molflt.units import KCAL_PER_MOL

ADDRESS = "https://doi.org/10.6084/m9.figshare.12672038"

_FIELDS = ("nuclear_charges", "coords", "energies", "forces")


class RMD17(GraphDataModule):
    """One molecule of revised MD17 in one of its five published splits.

    Each published split has 1,000 training and 1,000 test geometries; the last
    `num_val` training geometries validate.

    Args:
        root: Folder with the archive's folders, or with one file a part.
        molecule: Name in the file names, such as ``aspirin`` or ``ethanol``.
        split: Number of the published split, 1 to 5.
        num_val: Training geometries held out for validation.
        batch_size: Geometries of a training batch.
        eval_batch_size: Geometries of a validation or test batch; None: `batch_size`.
        num_workers: Loader processes.
        seed: Seed of the order of training geometries, and of `max_train`.
        max_train: Use this many of the training geometries, drawn at random; None: all.

    Raises:
        UsageError: `split` is not from 1 to 5, or `num_val` is negative.
    """

    def __init__(
        self,
        root: str | Path = "data/rmd17",
        molecule: str = "aspirin",
        split: int = 1,
        num_val: int = 50,
        batch_size: int = 5,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
        max_train: int | None = None,
    ) -> None:
        super().__init__(
            batch_size, eval_batch_size, num_workers, seed, max_train, in_memory=False
        )
        if split not in range(1, 6):
            raise UsageError(f"split must be from 1 to 5, not {split}.")
        if num_val < 0:
            raise UsageError(f"num_val must not be negative, not {num_val}.")
        self.root = Path(root)
        self.molecule = molecule
        self.split = split
        self.num_val = num_val

    @property
    def targets(self) -> tuple[TargetSpec, ...]:
        """The potential energy; the graphs also have `forces`."""
        return (TargetSpec("energy", reference="total energy, PBE/def2-SVP"),)

    def load_splits(self) -> Splits:
        """Read the split's geometries."""
        parts = {name: self._read(name) for name in ("train", "test")}
        count = len(parts["train"]) - self.num_val
        if count < 1:
            raise UsageError(
                f"num_val must be below the {len(parts['train']):,} training "
                f"geometries of the split, not {self.num_val:,}."
            )
        order = np.arange(len(parts["train"]))
        val: GraphDataset = GraphSubset(parts["train"], order[count:])
        train = GraphSubset(parts["train"], order[:count])
        return train, {"val": val}, {"test": parts["test"]}

    def _read(self, part: str) -> GraphList:
        alone = self.root / f"rmd17_{self.molecule}_{part}_{self.split:02d}.npz"
        if alone.is_file():
            return GraphList(read_rmd17(alone))
        for folder in (self.root, self.root / "rmd17"):
            whole = folder / "npz_data" / f"rmd17_{self.molecule}.npz"
            if whole.is_file():
                index = folder / "splits" / f"index_{part}_{self.split:02d}.csv"
                return GraphList(read_rmd17(whole, _read_indices(index)))
        raise InputError(
            f"{self.root} has neither {alone.name} nor npz_data/rmd17_{self.molecule}"
            f".npz; fetch rmd17.tar.bz2 from {ADDRESS} and unpack it there."
        )


def read_rmd17(path: str | Path, indices: np.ndarray | None = None) -> list[Data]:
    """Read geometries with `energy` [eV] and `forces` [eV/Å].

    Args:
        path: An .npz with nuclear_charges (n,), coords (m, n, 3), energies (m,) and
            forces (m, n, 3).
        indices: Geometries to read; None: all.

    Raises:
        InputError: The file is not such a file, or lacks a geometry asked for.
    """
    arrays = read_npz(path, _FIELDS, "a file of revised MD17")
    charges, coords, energies, forces = arrays
    total, n = len(energies), len(charges)
    if coords.shape != (total, n, 3) or forces.shape != coords.shape:
        raise InputError(
            f"{path}: coords {coords.shape} and forces {forces.shape} must both be "
            f"{(total, n, 3)}."
        )
    chosen = np.arange(total) if indices is None else indices
    if len(chosen) and not 0 <= chosen.min() <= chosen.max() < total:
        raise InputError(
            f"{path} has {total:,} geometries and the split asks for number "
            f"{int(chosen.max()):,}."
        )
    return [
        make_graph(
            charges,
            coords[i],
            sid=str(i),
            targets={"energy": float(energies[i]) * KCAL_PER_MOL},
            forces=np.asarray(forces[i], dtype=np.float64) * KCAL_PER_MOL,
            where=f"{path}, geometry {i}",
        )
        for i in track(chosen.tolist(), f"reading {Path(path).name}")
    ]


def _read_indices(path: Path) -> np.ndarray:
    try:
        lines = path.read_text(encoding="utf-8").split()
        return np.array([int(line) for line in lines], dtype=np.int64)
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file.") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} must hold one index a line ({error}).") from error
