"""Adsorbates by themselves, behind the systems that they are part of."""

import torch
from torch import Tensor
from torch_geometric.data import Data

from molflt.graph.host import fetched, indices_of
from molflt.graph.index import MODEL_FIELDS, graph_index

ADSORBATE = 2
"""OC20's tag of the atoms of an adsorbate."""


def adsorbate_atoms(data: Data) -> Tensor:
    """Return the indices of the atoms of adsorbates (m,), ascending."""
    tags = data.get("tags")
    if tags is None:
        return torch.zeros(0, dtype=torch.int64, device=data.z.device)
    there = tags == ADSORBATE
    ((count,),) = fetched(there.sum())
    return indices_of(there, int(count))


def behind(first: Data, second: Data) -> Data:
    """Return the graphs of both, those of `second` behind those of `first`."""
    batches, counts = zip(*map(graph_index, (first, second)), strict=True)
    fields = {
        key: torch.cat([first[key], second[key]])
        for key in MODEL_FIELDS
        if first.get(key) is not None
    }
    return Data(
        **fields,
        batch=torch.cat([batches[0], batches[1] + counts[0]]),
        num_graphs=sum(counts),
        no_subsurface=True,  # has been looked at, and empty graphs are no mistake
    )
