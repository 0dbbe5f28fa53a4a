"""The base of the data modules: splits become loaders."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Sampler
from torch_geometric.data import Batch, Data

from molflt.data.batching import SizeBucketSampler, collate
from molflt.data.dataset import CachedDataset, GraphDataset, GraphSubset, PlacedGraphs
from molflt.data.own_graphs import Graphs, checked_splits
from molflt.errors import UsageError
from molflt.targets import TargetSpec

Loader = DataLoader[Data]
Splits = tuple[Graphs, Mapping[str, Graphs], Mapping[str, Graphs]]


class GraphDataModule(pl.LightningDataModule, ABC):
    """Loaders of named splits; a subclass says what the splits and the targets are.

    Args:
        batch_size: Structures of a training batch; of each process, if there are more.
        eval_batch_size: Structures of a validation or test batch; None: `batch_size`.
        num_workers: Loader processes.
        seed: Seed of the order of training structures, and of `max_train`.
        max_train: Use this many training structures, drawn at random; None: all.
        in_memory: Keep graphs in memory after the first reading.

    Attributes:
        run_seed: ``seed_everything`` of ``molflt fit``, 0 otherwise. It changes the
            order of training structures and their random moves, not which these are:
            fine-tunings draw no weights, and would all be the same one without it.

    Raises:
        UsageError: A number is not whole, or is too small.
    """

    def __init__(
        self,
        batch_size: int = 32,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
        max_train: int | None = None,
        in_memory: bool = True,
    ) -> None:
        super().__init__()
        self.batch_size = _whole("batch_size", batch_size, 1)
        self.eval_batch_size = self.batch_size
        if eval_batch_size is not None:
            self.eval_batch_size = _whole("eval_batch_size", eval_batch_size, 1)
        self.num_workers = _whole("num_workers", num_workers, 0)
        self.seed = seed
        self.run_seed = 0
        self.max_train = max_train
        if max_train is not None:
            self.max_train = _whole("max_train", max_train, 1)
        self.in_memory = in_memory
        self.train: GraphDataset
        self.val: dict[str, GraphDataset] = {}
        self.test: dict[str, GraphDataset] = {}
        self._ready = False
        self._resume = (0, 0)

    @property
    @abstractmethod
    def targets(self) -> tuple[TargetSpec, ...]:
        """The labels of these data; known before `setup`."""

    @property
    def description(self) -> str:
        """What checkpoints say of the data they were trained on."""
        return type(self).__name__

    @abstractmethod
    def load_splits(self) -> Splits:
        """Open the files; return the training set and named validation and test sets.

        They may be lists or data sets of torch, and their graphs need no more than
        ``z``, ``pos`` and labels: the other fields then say "none" (`own_graphs`).

        Raises:
            InputError: A file or record cannot be used.
        """

    def setup(self, stage: str | None = None) -> None:
        """Fill `train`, `val` and `test`; a second call changes nothing."""
        if self._ready:
            return
        train, val, test = checked_splits(self.load_splits(), type(self).__name__)
        if self.max_train is not None and self.max_train < len(train):
            rng = np.random.default_rng(self.seed)
            chosen = rng.permutation(len(train))[: self.max_train]
            train = GraphSubset(train, np.sort(chosen))
        self.train = self._kept(train)
        self.val = {name: self._kept(split) for name, split in val.items()}
        self.test = {name: self._kept(split) for name, split in test.items()}
        self._ready = True

    @property
    def val_names(self) -> list[str]:
        """Names of the validation sets in the order of `dataloader_idx`."""
        self.setup()
        return list(self.val)

    @property
    def test_names(self) -> list[str]:
        """Names of the test sets in the order of `dataloader_idx`."""
        self.setup()
        return list(self.test)

    def resume_at(self, epoch: int, num_seen: int) -> None:
        """Let the next `train_dataloader` go on where an interrupted run stopped.

        Args:
            epoch: The epoch in progress.
            num_seen: Structures of that epoch that were already used.
        """
        self._resume = (epoch, num_seen)

    def train_dataloader(self) -> Loader:
        """Return shuffled batches of similar size, in a new order every epoch."""
        return self._loader("train", self.train, self.batch_size, shuffle=True)

    def val_dataloader(self) -> list[Loader]:
        """Return one loader a validation set, in file order."""
        return self._eval_loaders(self.val)

    def test_dataloader(self) -> list[Loader]:
        """Return one loader a test set, in file order."""
        return self._eval_loaders(self.test)

    def predict_dataloader(self) -> list[Loader]:
        """Return the loaders of the test sets."""
        return self.test_dataloader()

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Move a batch; Lightning alone would wait for a GPU for each of its arrays."""
        return batch.to(device, non_blocking=True)

    def _kept(self, dataset: GraphDataset) -> GraphDataset:
        return CachedDataset(dataset) if self.in_memory else dataset

    def _eval_loaders(self, splits: dict[str, GraphDataset]) -> list[Loader]:
        return [
            self._loader(name, split, self.eval_batch_size, shuffle=False)
            for name, split in splits.items()
        ]

    def _loader(
        self, name: str, dataset: GraphDataset, batch_size: int, *, shuffle: bool
    ) -> Loader:
        if isinstance(dataset, CachedDataset) and self.num_workers:
            dataset.load(f"reading {name}")
        return DataLoader(
            dataset if shuffle else PlacedGraphs(dataset),
            batch_size=batch_size,
            sampler=self._sampler(dataset, batch_size) if shuffle else None,
            num_workers=self.num_workers,
            collate_fn=collate,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def _sampler(self, dataset: GraphDataset, batch_size: int) -> Sampler[int]:
        """Return the order of training structures; the hook for another batching."""
        (epoch, num_seen), self._resume = self._resume, (0, 0)
        trainer = self.trainer
        return SizeBucketSampler(
            dataset.num_atoms,
            batch_size,
            self.seed,
            epoch=epoch,
            skip=num_seen,
            rank=trainer.global_rank if trainer is not None else 0,
            num_ranks=trainer.world_size if trainer is not None else 1,
            run_seed=self.run_seed,
        )


def _whole(name: str, value: Any, least: int) -> int:
    """Return a whole number as Python's, also one of NumPy's, or 4.0.

    Raises:
        UsageError: It is none, or less than `least`.
    """
    if not isinstance(value, Real) or not float(value).is_integer():
        raise UsageError(f"{name} must be a whole number, not {value!r}.")
    if value < least:
        raise UsageError(f"{name} must be at least {least}, not {value}.")
    return int(float(value))
