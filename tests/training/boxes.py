"""Small structures in boxes of every kind, with relaxed positions."""

import numpy as np
import torch
from torch_geometric.data import Data

from molflt.data.molecule import make_graph

TRICLINIC = np.array([[4.0, 0, 0], [1.9, 3.5, 0], [-1.5, 1.0, 5.0]])
BOXES = {
    "open": (np.zeros((3, 3)), [False, False, False]),
    "cubic": (np.eye(3) * 6.0, [True, True, True]),
    "triclinic": (TRICLINIC, [True, True, True]),
    "slab": (TRICLINIC, [True, True, False]),
    "slab without a third vector": (TRICLINIC * [[1], [1], [0]], [True, True, False]),
}


def boxed(box: str, seed: int = 0) -> Data:
    """Five carbon atoms of which one is held."""
    cell, pbc = BOXES[box]
    rng = np.random.default_rng(seed)
    pos = 2.0 * np.arange(5)[:, None] * [0.1, 0.2, 1.0] + rng.normal(size=(5, 3)) / 4
    graph = make_graph([6] * 5, pos, cell=cell, pbc=pbc, sid=box)
    graph.pos_relaxed = graph.pos + torch.from_numpy(rng.normal(size=(5, 3)) / 4)
    graph.fixed[1] = True
    return graph
