"""Batches: the order of structures that makes them of similar size, and collation."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import DistributedSampler
from torch_geometric.data import Batch, Data


def collate(graphs: Sequence[Data]) -> Batch:
    """Return a batch of graphs, with the fields that all of them have.

    A data set may have labels for some of its structures alone; PyG's own collation
    stops there. What needs a label says so when it is missing (`label_of`).
    """
    common = set.intersection(*(set(graph.keys()) for graph in graphs))
    excluded = {key for graph in graphs for key in graph.keys()} - common  # noqa: SIM118
    return Batch.from_data_list(list(graphs), exclude_keys=sorted(excluded))


class SizeBucketSampler(DistributedSampler[int]):
    """Random order in which each run of `batch_size` indices has similar sizes.

    Dense attention pads to the largest member of a batch: mixed batches waste most of
    the work. Each epoch all structures are shuffled, sorted by size within chunks of
    `chunk` batches, cut into batches, and the batches are shuffled; an incomplete batch
    comes last, so that a plain `BatchSampler` cuts at the same places. The order
    depends on the seeds and the epoch alone (Lightning calls `set_epoch`).

    Several processes that train together deal out every batch of batch_size x processes
    structures, so that all have about the same work: they take the same steps as one
    process with batches of that size, and see every structure once an epoch. Only where
    fewer structures than processes remain for the last step, some are dealt twice:
    every process needs a batch. A `DistributedSampler`, which Lightning leaves alone.

    Args:
        num_atoms: Size of each structure (len,).
        batch_size: Structures of a batch of one process.
        seed: Seed; epoch e uses (seed, e, run_seed).
        chunk: Batches among which sizes are sorted; more: less padding, less random.
        epoch: Epoch of the first pass, until `set_epoch`.
        skip: Structures left out at the beginning of the first pass, by all processes
            together: those an interrupted run has already seen. The length does not
            count them out.
        rank: Number of this process.
        num_ranks: Number of processes.
        run_seed: A second seed; 0: as (seed, e), which NumPy fills up with zeros.
    """

    def __init__(
        self,
        num_atoms: np.ndarray,
        batch_size: int,
        seed: int = 0,
        chunk: int = 50,
        epoch: int = 0,
        skip: int = 0,
        rank: int = 0,
        num_ranks: int = 1,
        run_seed: int = 0,
    ) -> None:
        self._num_atoms = np.asarray(num_atoms)
        super().__init__(self._num_atoms, num_ranks, rank, seed=seed)  # type: ignore[arg-type]
        self._step = batch_size * num_ranks
        self._chunk = chunk
        self._skip = skip
        self._run_seed = run_seed
        self.set_epoch(epoch)

    def __len__(self) -> int:
        steps, rest = divmod(len(self._num_atoms), self._step)
        own = -(-(rest - self.rank) // self.num_replicas)
        return steps * self._step // self.num_replicas + max(own, int(rest > 0))

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch, self._run_seed])
        order = rng.permutation(len(self._num_atoms))
        full = len(order) - len(order) % self._step
        rest = order[full:]
        if 0 < len(rest) < self.num_replicas:
            rest = np.resize(rest, self.num_replicas)
        size = self._step * self._chunk
        batches: list[np.ndarray] = []
        for start in range(0, full, size):
            part = order[start : min(start + size, full)]
            part = part[np.argsort(self._num_atoms[part], kind="stable")]
            batches.extend(part.reshape(-1, self._step))
        batches = [batches[index] for index in rng.permutation(len(batches))]
        skip, self._skip = self._skip, 0
        dealt = np.concatenate([*batches, rest])[skip:]
        yield from dealt[self.rank :: self.num_replicas].tolist()
