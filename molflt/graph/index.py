"""What models read of a graph or batch, and which graph each atom belongs to."""

import torch
from jaxtyping import Bool
from torch import Tensor
from torch_geometric.data import Batch, Data

from molflt.typing import GraphIndex

OF_ATOMS = ("z", "pos", "tags")
"""Fields with a row for each atom."""

OF_GRAPHS = ("cell", "pbc")
"""Fields with a row for each graph."""

MODEL_FIELDS = (*OF_ATOMS, *OF_GRAPHS)
"""All fields that models read; `molflt.data.molecule` says what they hold."""


def graph_index(data: Data) -> tuple[GraphIndex, int]:
    """Return the graph of each atom and the number of graphs."""
    if data.batch is None:
        return torch.zeros_like(data.z, dtype=torch.int64), 1  # z may be uint8
    if isinstance(data, Batch):
        return data.batch, data.num_graphs
    known = data.get("num_graphs")
    return data.batch, int(data.batch.max()) + 1 if known is None else known


def name_of(data: Data, number: int) -> str | int:
    """Return the name of a graph of a batch for errors: its `sid`, else its number."""
    sid = data.get("sid") or ""
    return (sid if isinstance(sid, str) else sid[number]) or number


def has_volume(data: Data) -> Bool[Tensor, " g"]:
    """Return which structures are periodic and have a cell with a volume."""
    found: Tensor = torch.linalg.det(data.cell.detach()) != 0
    return data.pbc.any(dim=1) & found
