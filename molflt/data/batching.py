"""Batches: the order of structures that makes them of similar size, and collation."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler
from torch_geometric.data import Batch, Data


def collate(graphs: Sequence[Data]) -> Batch:
    """Return a batch of graphs, with the fields that all of them have.

    A data set may have labels for some of its structures alone; PyG's own collation
    stops there. What needs a label says so when it is missing (`label_of`).
    """
    common = set.intersection(*(set(graph.keys()) for graph in graphs))
    excluded = {key for graph in graphs for key in graph.keys()} - common  # noqa: SIM118
    return Batch.from_data_list(list(graphs), exclude_keys=sorted(excluded))


class SizeBucketSampler(Sampler[int]):
    """Random order in which each run of `batch_size` indices has similar sizes.

    Dense attention pads to the largest member of a batch: mixed batches waste most of
    the work. Each epoch all structures are shuffled, sorted by size within chunks of
    `chunk` batches, cut into batches, and the batches are shuffled; an incomplete batch
    comes last, so that a plain `BatchSampler` cuts at the same places. The order
    depends on `seed` and the epoch alone (Lightning calls `set_epoch`).

    Args:
        num_atoms: Size of each structure (len,).
        batch_size: Structures of a batch.
        seed: Seed; epoch e uses (seed, e).
        chunk: Batches among which sizes are sorted; more: less padding, less random.
        epoch: Epoch of the first pass, until `set_epoch`.
        skip: Structures left out at the beginning of the first pass: those an
            interrupted run has already seen. The length does not count them out.
    """

    def __init__(
        self,
        num_atoms: np.ndarray,
        batch_size: int,
        seed: int = 0,
        chunk: int = 50,
        epoch: int = 0,
        skip: int = 0,
    ) -> None:
        self._num_atoms = np.asarray(num_atoms)
        self._batch_size = batch_size
        self._seed = seed
        self._chunk = chunk
        self._skip = skip
        self.epoch = epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._num_atoms)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self._seed, self.epoch])
        order = rng.permutation(len(self._num_atoms))
        full = len(order) - len(order) % self._batch_size
        rest = order[full:]
        step = self._batch_size * self._chunk
        batches: list[np.ndarray] = []
        for start in range(0, full, step):
            part = order[start : min(start + step, full)]
            part = part[np.argsort(self._num_atoms[part], kind="stable")]
            batches.extend(part.reshape(-1, self._batch_size))
        batches = [batches[index] for index in rng.permutation(len(batches))]
        skip, self._skip = self._skip, 0
        yield from np.concatenate([*batches, rest])[skip:].tolist()
