"""Systems taken apart: adsorbate and slab by themselves, behind the whole."""

import torch
from torch import Tensor
from torch_geometric.data import Data

from molflt.graph_index import graph_index

ADSORBATE = 2
"""OC20's tag of the atoms of an adsorbate."""

_OF_ATOMS = ("z", "pos", "tags")
_OF_GRAPHS = ("cell", "pbc")


def with_parts(data: Data) -> tuple[Data, Tensor]:
    """Return g systems, behind them their g adsorbates, and behind these their g slabs.

    Each atom is in one part of its system. Parts keep the cell, so that a slab is still
    periodic and an adsorbate across a boundary is in one piece; a part may be empty.

    Args:
        data: Graph or batch of graphs, n atoms; without tags all is slab.

    Returns:
        The 3 g graphs, and the place of each atom among the n behind the systems (n,).
    """
    batch, num_graphs = graph_index(data)
    part = batch + 2 * num_graphs
    if data.get("tags") is not None:
        part = part - num_graphs * (data.tags == ADSORBATE).to(batch.dtype)
    order = part.argsort(stable=True)
    fields = {
        key: torch.cat([data[key], data[key][order]])
        for key in _OF_ATOMS
        if data.get(key) is not None
    }
    for key in _OF_GRAPHS:
        if data.get(key) is not None:
            fields[key] = torch.cat([data[key]] * 3)
    joint = Data(
        **fields,
        batch=torch.cat([batch, part[order]]),
        num_graphs=3 * num_graphs,
        no_subsurface=True,  # adsorbates have no other atoms: that is not a mistake
    )
    return joint, order.argsort()
