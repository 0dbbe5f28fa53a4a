"""Tiny labelled clusters, and a data module of them."""

import numpy as np
from torch_geometric.data import Data

from molflt.data.datamodule import GraphDataModule
from molflt.data.dataset import GraphList
from molflt.data.molecule import make_graph
from molflt.targets import TargetSpec


def cluster(seed: int, **targets: float) -> Data:
    """A few H and O atoms at random, with the energy of a pair potential."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 6))
    z = rng.choice([1, 8], n)
    pos = rng.normal(size=(n, 3)) * 1.2
    distance = np.linalg.norm(pos[:, None] - pos, axis=-1)[np.triu_indices(n, 1)]
    energy = float(np.exp(-distance).sum() - 3.0 * z.sum())
    labels = {"energy": energy, "spread": float(pos.std()), **targets}
    graph = make_graph(z, pos, sid=f"c{seed}", targets=labels, forces=_forces(pos))
    graph.pos_relaxed = graph.pos + 0.1 * graph.forces
    return graph


def _forces(pos: np.ndarray) -> np.ndarray:
    """Minus the gradient of the sum of exp(-r_ij) over pairs."""
    delta = pos[:, None] - pos
    r = np.linalg.norm(delta, axis=-1) + np.eye(len(pos))
    return ((np.exp(-r) / r)[:, :, None] * delta).sum(axis=1)


class Clusters(GraphDataModule):
    """20 training clusters in 5 batches, two validation splits."""

    def __init__(self, num_targets: int = 1, batch_size: int = 4, **options):
        super().__init__(batch_size=batch_size, **options)
        self._targets = (
            TargetSpec("energy", kind="potential"),
            TargetSpec("spread", unit="A", kind="property", extensive=False),
        )[:num_targets]

    @property
    def targets(self):
        return self._targets

    def load_splits(self):
        parts = [
            GraphList([cluster(seed) for seed in range(start, start + size)])
            for start, size in ((0, 20), (100, 6), (200, 7))
        ]
        val = {"val_near": parts[1], "val_far": parts[2]}
        return parts[0], val, {"test_near": parts[1]}
