"""Structures without their sub-surface atoms, for encoders that leave these out."""

from torch import Tensor
from torch_geometric.data import Data

from molflt.errors import InputError
from molflt.graph.host import fetched, indices_of
from molflt.graph.index import OF_ATOMS, OF_GRAPHS, graph_index, name_of

SUBSURFACE = 0
"""OC20's tag of the atoms below a surface."""

_KEPT = (*OF_ATOMS, "fixed", "pos_relaxed")


def seen_atoms(data: Data) -> Tensor | None:
    """Return the indices of atoms that are not sub-surface; None: all are not.

    Args:
        data: Graph or batch of graphs; where there are no tags, nothing is left out.

    Raises:
        InputError: A graph has no other atoms.
    """
    tags = data.get("tags")
    if tags is None or data.get("no_subsurface"):
        return None
    keep = tags != SUBSURFACE
    batch, num_graphs = graph_index(data)
    count = batch.new_zeros(num_graphs).index_add_(0, batch, keep.to(batch.dtype))
    (kept,) = fetched(count)
    if sum(kept) == len(tags):
        return None
    if 0 in kept:
        bad = kept.index(0)
        raise InputError(
            f"Structure {name_of(data, bad)} has sub-surface atoms alone (tag 0), "
            "which this model leaves out; tag its surface 1 and its adsorbate 2."
        )
    return indices_of(keep, int(sum(kept)))


def part_of(data: Data, index: Tensor) -> Data:
    """Return a graph or batch of graphs with some atoms, none of them sub-surface.

    They keep their cell, so that what crosses a boundary is in one piece.

    Args:
        data: The graph or batch.
        index: The atoms (m,), ascending; a graph may have none.
    """
    fields = {key: data[key][index] for key in _KEPT if data.get(key) is not None}
    fields["no_subsurface"] = True  # need not be looked at again
    for key in OF_GRAPHS:
        if data.get(key) is not None:
            fields[key] = data[key]
    if data.batch is not None:
        batch, num_graphs = graph_index(data)
        fields |= {"batch": batch[index], "num_graphs": num_graphs}
    return Data(**fields)
