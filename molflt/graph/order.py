"""Atoms in the order of space, for caches: neighbours in space are so in memory."""

import torch
from torch import Tensor
from torch_geometric.data import Data

from molflt.graph.host import segment_count
from molflt.graph.index import graph_index
from molflt.graph.partition import WrappedSystem
from molflt.typing import AtomIndex

LEAST_ATOMS = 8192
"""Atoms of a graph from which on their order matters."""

BITS = 10  # of a coordinate along the curve


def spatial_order(data: Data, cutoff: float) -> AtomIndex | None:
    """Return the atoms along a Morton curve (n,), graph by graph.

    What a block of atoms reads of its neighbours then stays close to the processor,
    whatever order a file has them in. None: no graph has atoms enough for a difference.

    Args:
        data: Graph or batch of graphs.
        cutoff: Distance [Å] within which atoms are neighbours.

    Raises:
        InputError: A periodic lattice vector cannot be used with this cutoff.

    Source: G. M. Morton, A computer oriented geodetic data base, IBM (1966).
    """
    if len(data.z) < LEAST_ATOMS:
        return None
    batch, num_graphs = graph_index(data)
    sizes = segment_count(batch, num_graphs).tolist()
    if max(sizes) < LEAST_ATOMS:
        return None
    cell, pbc = data.get("cell"), data.get("pbc")
    order = list(torch.arange(len(batch), device=batch.device).split(sizes))
    for graph, own in enumerate(order):
        if len(own) >= LEAST_ATOMS:
            box = None if cell is None else cell[graph : graph + 1]
            periodic = None if pbc is None else pbc[graph : graph + 1]
            places = WrappedSystem(data.pos[own], box, periodic, cutoff).places
            order[graph] = own[_morton(places).argsort(stable=True)]
    return torch.cat(order)


def places_in(order: AtomIndex) -> AtomIndex:
    """Return the place of each atom in an order (n,)."""
    place = torch.arange(len(order), device=order.device)
    return torch.empty_like(order).index_copy(0, order, place)


def _morton(places: Tensor) -> Tensor:
    """Return how far along the curve points (n, 3) are (n,)."""
    low = places.amin(0)
    side = (places - low).amax() / (2**BITS - 1)
    cells = ((places - low) / side.clamp_min(1e-9)).long()
    code = torch.zeros_like(cells[:, 0])
    for bit in range(BITS):
        for axis in range(3):
            code |= ((cells[:, axis] >> bit) & 1) << (3 * bit + axis)
    return code
