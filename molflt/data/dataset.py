"""Sets of graphs: what a data module hands to its loaders."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from torch.utils.data import Dataset
from torch_geometric.data import Data

from molflt.data.progress import track

PLACE = "place_in_split"
"""Field of a graph that is evaluated: its number in its split, as text."""


class GraphDataset(Dataset[Data], ABC):
    """A set of graphs that knows their sizes without reading them all."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of graphs."""

    @abstractmethod
    def __getitem__(self, index: int) -> Data:
        """Return one graph; IndexError past the end."""

    @property
    @abstractmethod
    def num_atoms(self) -> np.ndarray:
        """Atoms of each graph (len,) int64."""


def place_of(index: int, length: int) -> int:
    """Return the place from 0 on that `index` means, which may count from the end.

    Raises:
        IndexError: There is none.
    """
    if not -length <= index < length:
        raise IndexError(f"graph {index} of {length}")
    return index % length


class GraphList(GraphDataset):
    """Graphs in memory."""

    def __init__(self, graphs: Sequence[Data]) -> None:
        self._graphs = list(graphs)
        self._num_atoms = np.array([len(graph.z) for graph in graphs], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._graphs)

    def __getitem__(self, index: int) -> Data:
        return self._graphs[index]

    @property
    def num_atoms(self) -> np.ndarray:
        """Atoms of each graph (len,) int64."""
        return self._num_atoms


class GraphSubset(GraphDataset):
    """Some graphs of another set, in the given order."""

    def __init__(self, dataset: GraphDataset, indices: Sequence[int] | np.ndarray):
        self._dataset = dataset
        self.indices = np.asarray(indices, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Data:
        return self._dataset[int(self.indices[index])]

    @property
    def num_atoms(self) -> np.ndarray:
        """Atoms of each graph (len,) int64."""
        return self._dataset.num_atoms[self.indices]


class GraphUnion(GraphDataset):
    """Several sets, one after the other."""

    def __init__(self, datasets: Sequence[GraphDataset]) -> None:
        self._datasets = list(datasets)
        self._ends = np.cumsum([len(dataset) for dataset in datasets])
        self._num_atoms = np.concatenate([dataset.num_atoms for dataset in datasets])

    def __len__(self) -> int:
        return len(self._num_atoms)

    def __getitem__(self, index: int) -> Data:
        index = place_of(index, len(self))
        which = int(np.searchsorted(self._ends, index, side="right"))
        start = self._ends[which] - len(self._datasets[which])
        return self._datasets[which][int(index - start)]

    @property
    def num_atoms(self) -> np.ndarray:
        """Atoms of each graph (len,) int64."""
        return self._num_atoms


class PlacedGraphs(GraphDataset):
    """Graphs that say where in their set they are (`PLACE`).

    Processes that evaluate together tell by it which graphs several of them had: an id
    may be that of several frames.
    """

    def __init__(self, dataset: GraphDataset) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Data:
        graph = copy.copy(self._dataset[index])
        graph[PLACE] = str(index)  # text, as a number would have to come from the GPU
        return graph

    @property
    def num_atoms(self) -> np.ndarray:
        """Atoms of each graph (len,) int64."""
        return self._dataset.num_atoms


class CachedDataset(GraphDataset):
    """Keep every graph that was read once.

    Graphs are handed out without a copy: batching copies them, other users must not
    change them.
    """

    def __init__(self, dataset: GraphDataset) -> None:
        self._dataset = dataset
        self._graphs: list[Data | None] = [None] * len(dataset)

    def __len__(self) -> int:
        return len(self._graphs)

    def __getitem__(self, index: int) -> Data:
        graph = self._graphs[index]
        if graph is None:
            graph = self._dataset[index]
            self._graphs[index] = graph
        return graph

    @property
    def num_atoms(self) -> np.ndarray:
        """Atoms of each graph (len,) int64."""
        return self._dataset.num_atoms

    def load(self, description: str = "reading") -> None:
        """Read everything now, so that forked loader processes share the memory."""
        missing = [i for i, graph in enumerate(self._graphs) if graph is None]
        if missing:
            for index in track(missing, description):
                self[index]


def with_unique_ids(graphs: Iterable[Data]) -> Iterator[Data]:
    """Yield graphs; an id that is missing or came before gets its place appended.

    Predictions are told apart by it, so two frames must never share one.
    """
    seen: set[str] = set()
    for count, graph in enumerate(graphs):
        sid = graph.sid or str(count)
        graph.sid = f"{sid}-{count}" if sid in seen else sid
        seen.add(graph.sid)
        yield graph
