"""Splits of one's own: lists and torch's datasets, graphs without optional fields."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from torch_geometric.data import Data

from molflt.data.dataset import GraphDataset
from molflt.errors import InputError, UsageError

Graphs = GraphDataset | Dataset[Data] | Sequence[Data]
"""Graphs that can be asked for by number, of which there is a known number."""


def checked_splits(
    found: Any, name: str
) -> tuple[GraphDataset, dict[str, GraphDataset], dict[str, GraphDataset]]:
    """Return splits as data sets of complete graphs.

    Args:
        found: What `GraphDataModule.load_splits` returned.
        name: Class of the data module, for errors.

    Raises:
        UsageError: It is not what `load_splits` has to return.
    """
    if not (
        isinstance(found, tuple)
        and len(found) == 3
        and all(isinstance(part, Mapping) for part in found[1:])
    ):
        raise UsageError(
            f"{name}.load_splits has to return three things: the training set, and "
            "validation and test sets as dictionaries by name, which may be empty."
        )
    train, *named = found
    val, test = ({k: _complete(v, name, k) for k, v in part.items()} for part in named)
    return _complete(train, name, "train"), val, test


def _complete(graphs: Any, name: str, split: str) -> GraphDataset:
    if not (hasattr(graphs, "__len__") and hasattr(graphs, "__getitem__")):
        raise UsageError(
            f"{name}.load_splits returned {type(graphs).__name__} as {split}, which is "
            "no list or data set of graphs (with a length, and graphs by number)."
        )
    return CompleteGraphs(graphs)


class CompleteGraphs(GraphDataset):
    """Graphs with all fields that training reads; those they lack say "none".

    No lattice, no periodic direction, no tags, no fixed atoms, and the number as id.

    Args:
        graphs: The graphs; if they are no `GraphDataset`, all are read for their sizes
            when these are first asked for.
    """

    def __init__(self, graphs: Graphs) -> None:
        self._graphs = graphs
        self._num_atoms: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self._graphs)  # type: ignore[arg-type]  # torch's have no length

    def __getitem__(self, index: int) -> Data:
        return _completed(self._graphs[index], index)

    @property
    def num_atoms(self) -> np.ndarray:
        """Atoms of each graph (len,) int64."""
        if isinstance(self._graphs, GraphDataset):
            return self._graphs.num_atoms
        if self._num_atoms is None:
            sizes = [len(self[index].z) for index in range(len(self))]
            self._num_atoms = np.array(sizes, dtype=np.int64)
        return self._num_atoms


def _completed(graph: Any, index: int) -> Data:
    """Return a graph with all fields; a copy if it lacks some.

    Raises:
        InputError: It is no graph, or not known to be periodic or not.
    """
    if not isinstance(graph, Data):
        raise InputError(
            f"Item {index} of a split is {type(graph).__name__}, no graph (Data of "
            "torch_geometric; molflt.data.atoms_to_graph makes one)."
        )
    found = set(graph.keys())
    if not {"z", "pos"} <= found:
        raise InputError(
            f"Graph {index} of a split has no {'pos' if 'z' in found else 'z'}; "
            "graphs need atomic numbers z and positions pos."
        )
    if "cell" in found and "pbc" not in found:
        raise InputError(
            f"Graph {index} of a split has a cell and no pbc, which says along which "
            "of its vectors it is periodic (1, 3)."
        )
    missing = {"cell", "pbc", "tags", "fixed", "sid"} - found
    if graph.get("sid") == "":  # as `make_graph` leaves it, for a set to count
        missing.add("sid")
    if not missing:
        return graph
    n, like = len(graph.z), {"device": graph.z.device}
    none = {
        "cell": torch.zeros((1, 3, 3), dtype=torch.float64, **like),
        "pbc": torch.zeros((1, 3), dtype=torch.bool, **like),
        "tags": torch.full((n,), -1, **like),
        "fixed": torch.zeros(n, dtype=torch.bool, **like),
        "sid": str(index),
    }
    graph = copy.copy(graph)
    for name in missing:
        graph[name] = none[name]
    return graph
