"""Adsorbates by themselves, behind the systems that they are part of."""

import torch
from torch import Tensor
from torch_geometric.data import Data

from molflt.graph_index import graph_index
from molflt.host import fetched

ADSORBATE = 2
"""OC20's tag of the atoms of an adsorbate."""

_OF_ATOMS = ("z", "pos", "tags")
_OF_GRAPHS = ("cell", "pbc")


def adsorbate_atoms(data: Data) -> Tensor:
    """Return the indices of the atoms of adsorbates (m,), ascending."""
    tags = data.get("tags")
    if tags is None:
        return torch.zeros(0, dtype=torch.int64, device=data.z.device)
    there = tags == ADSORBATE
    ((count,),) = fetched(there.sum())
    # Stable, so atoms keep their order; and unlike `nonzero` nothing waits for it.
    return (~there).byte().argsort(stable=True)[: int(count)]


def some_atoms(data: Data, index: Tensor) -> Data:
    """Return the same graphs with some of their atoms; graphs may be empty.

    They keep their cell, so that an adsorbate across a boundary is in one piece.

    Args:
        data: Graph or batch of graphs.
        index: The atoms (m,), ascending.
    """
    batch, num_graphs = graph_index(data)
    fields = {key: data[key][index] for key in _OF_ATOMS if data.get(key) is not None}
    for key in _OF_GRAPHS:
        if data.get(key) is not None:
            fields[key] = data[key]
    return Data(**fields, batch=batch[index], num_graphs=num_graphs)


def behind(first: Data, second: Data) -> Data:
    """Return the graphs of both, those of `second` behind those of `first`."""
    batches, counts = zip(*map(graph_index, (first, second)), strict=True)
    fields = {
        key: torch.cat([first[key], second[key]])
        for key in (*_OF_ATOMS, *_OF_GRAPHS)
        if first.get(key) is not None
    }
    return Data(
        **fields,
        batch=torch.cat([batches[0], batches[1] + counts[0]]),
        num_graphs=sum(counts),
        no_subsurface=True,  # has been looked at, and empty graphs are no mistake
    )
