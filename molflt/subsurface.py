"""Structures without their sub-surface atoms, for encoders that leave these out."""

import torch
from torch import Tensor
from torch_geometric.data import Data

from molflt.errors import InputError

SUBSURFACE = 0
"""OC20's tag of the atoms below a surface."""

_OF_ATOMS = ("z", "pos", "tags", "fixed", "pos_relaxed")


def seen_atoms(data: Data) -> Tensor | None:
    """Return the indices of atoms that are not sub-surface; None: all are not.

    Args:
        data: Graph or batch of graphs; where there are no tags, nothing is left out.

    Raises:
        InputError: A graph has no other atoms.
    """
    tags = data.get("tags")
    if tags is None:
        return None
    keep = tags != SUBSURFACE
    if bool(keep.all()):
        return None
    index = keep.nonzero().squeeze(1)
    if data.batch is None:
        bad = None if len(index) else 0
    else:
        counts = torch.bincount(data.batch[index], minlength=int(data.batch[-1]) + 1)
        empty = (counts == 0).nonzero()
        bad = int(empty[0]) if len(empty) else None
    if bad is not None:
        sid = data.get("sid") or ""
        named = sid if isinstance(sid, str) else sid[bad]
        raise InputError(
            f"Structure {named or bad} has sub-surface atoms alone (tag 0), which this "
            "model leaves out; tag its surface 1 and its adsorbate 2."
        )
    return index


def part_of(data: Data, index: Tensor) -> Data:
    """Return some atoms of a graph or batch of graphs, with what is known of them.

    Args:
        data: The graph or batch.
        index: The atoms (m,), ascending, at least one of each graph.
    """
    fields = {key: data[key][index] for key in _OF_ATOMS if data.get(key) is not None}
    for key in ("cell", "pbc"):
        if data.get(key) is not None:
            fields[key] = data[key]
    if data.batch is not None:
        fields |= {"batch": data.batch[index], "num_graphs": int(data.batch[-1]) + 1}
    return Data(**fields)
