"""OC20 IS2RE: relaxed adsorption energies from initial structures, with DFT."""

from pathlib import Path
from typing import Literal

from molflt.data.datamodule import GraphDataModule, Loader, Splits
from molflt.data.dataset import GraphDataset
from molflt.data.lmdb.store import LMDBDataset, is_molflt_lmdb
from molflt.data.oc20.dataset import ADSORPTION_ENERGY, OCPDataset
from molflt.errors import InputError
from molflt.targets import TargetSpec

Subset = Literal["10k", "100k", "all"]

VAL_SPLITS = ("val_id", "val_ood_ads", "val_ood_cat", "val_ood_both")
TEST_SPLITS = ("test_id", "test_ood_ads", "test_ood_cat", "test_ood_both")

OCP_MEAN, OCP_STD = -1.525913953781128, 2.279365062713623
"""Normaliser [eV] of OCP's configurations, for comparison: molflt fits its own."""


class OC20IS2RE(GraphDataModule):
    """The IS2RE task of the Open Catalyst Project, from OCP's own files.

    The input is the initial structure (periodic in all three directions), the target
    ``energy`` the adsorption energy after relaxation [eV]. Two layouts of `root`:

    - OCP's: ``is2re/{10k,100k,all}/train/data.lmdb``, ``is2re/all/<split>/data.lmdb``,
      where ``is2re`` may be `root` itself;
    - plain: ``train.lmdb``, ``<split>.lmdb`` in `root`, in OCP's or molflt's format
      (``molflt data convert``; reads faster).

    Validation sets are those of ``val_id``, ``val_ood_ads``, ``val_ood_cat`` and
    ``val_ood_both`` that are there. Labels of the test splits are not public: `test`
    holds the validation sets unless the test files have labels, and the test files are
    for prediction (`open_test_splits`). Source: opencatalystproject.org, CC BY 4.0.

    Args:
        root: Folder of the data.
        subset: Which training set; the plain layout has only one.
        batch_size: Systems of a training batch.
        eval_batch_size: Systems of a validation or test batch; None: `batch_size`.
        num_workers: Loader processes.
        seed: Seed of the order of training systems, and of `max_train`.
        max_train: Use this many training systems, drawn at random; None: all.
        in_memory: Keep graphs in memory after the first reading (some 10 kB each);
            None: unless `subset` is "all".

    Raises:
        InputError: No such folder.
        UsageError: A count out of range.
    """

    def __init__(
        self,
        root: str | Path = "data",
        subset: Subset = "10k",
        batch_size: int = 32,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
        max_train: int | None = None,
        in_memory: bool | None = None,
    ) -> None:
        keep = subset != "all" if in_memory is None else in_memory
        super().__init__(
            batch_size, eval_batch_size, num_workers, seed, max_train, keep
        )
        self.root = Path(root)
        self.subset = subset

    @property
    def targets(self) -> tuple[TargetSpec, ...]:
        """The adsorption energy."""
        return (ADSORPTION_ENERGY,)

    def load_splits(self) -> Splits:
        """Open the files.

        Raises:
            InputError: The training set or all validation sets are missing, or a file
                is damaged.
        """
        train = split_file(self.root, "train", self.subset)
        if train is None:
            raise InputError(
                f"No training set in {self.root}: neither is2re/{self.subset}/train/"
                "data.lmdb (OCP's layout) nor train.lmdb."
            )
        val = {
            name: open_split(path, labelled=True)
            for name in VAL_SPLITS
            if (path := split_file(self.root, name)) is not None
        }
        if not val:
            raise InputError(
                f"No validation set in {self.root}: neither is2re/all/val_id/data.lmdb "
                "(OCP's layout) nor val_id.lmdb."
            )
        test = open_test_splits(self.root, labelled=True)
        return open_split(train, labelled=True), val, test or dict(val)

    def predict_dataloader(self) -> list[Loader]:
        """Return one loader for each of the four test splits that is there."""
        return self._eval_loaders(open_test_splits(self.root))


def open_test_splits(
    root: str | Path, labelled: bool = False
) -> dict[str, GraphDataset]:
    """Open the test splits that are there, by name (``test_id``, ...).

    Args:
        root: Folder of the data, see `OC20IS2RE`.
        labelled: Only those that have labels.

    Raises:
        InputError: A file is damaged.
    """
    found = {}
    for name in TEST_SPLITS:
        if (path := split_file(Path(root), name)) is not None:
            dataset = open_split(path)
            if not labelled or "energy" in dataset[0]:
                found[name] = dataset
    return found


def split_file(root: Path, split: str, subset: Subset = "all") -> Path | None:
    """Return the file of a split in either layout; None if there is none.

    Raises:
        InputError: No such folder.
    """
    if not root.is_dir():
        raise InputError(
            f"No such folder: {root}; `molflt data oc20 {root}` fetches the data."
        )
    for path in (
        root / "is2re" / subset / split / "data.lmdb",
        root / subset / split / "data.lmdb",
        root / f"{split}.lmdb",
    ):
        if path.exists():
            return path
    return None


def open_split(path: Path, labelled: bool | None = None) -> GraphDataset:
    """Open one split in OCP's or molflt's format.

    Args:
        path: The LMDB file.
        labelled: Whether records must have labels; None: as the first record.

    Raises:
        InputError: The file is damaged, or molflt's file has another target.
    """
    if not is_molflt_lmdb(path):
        return OCPDataset(path, labelled=labelled)
    dataset = LMDBDataset(path)
    if dataset.targets != (ADSORPTION_ENERGY,):
        raise InputError(f"{path} does not hold OC20's relaxed adsorption energies.")
    return dataset
