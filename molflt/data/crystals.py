"""Which structures have a stress: crystals, periodic in three directions."""

import torch
from ase import Atoms
from jaxtyping import Bool
from torch import Tensor
from torch_geometric.data import Data


def is_crystal(atoms: Atoms) -> bool:
    """Whether a structure has a volume that repeats in three directions."""
    return bool(atoms.pbc.all()) and atoms.cell.volume > 0


def stress_is_known(data: Data) -> Bool[Tensor, " g"]:
    """Return which structures of a graph or batch are crystals with a stress label.

    Labels of others say nothing, whatever they are: files of earlier versions may have
    zeros there.

    Args:
        data: Structures with the label `stress`, NaN where there is none.
    """
    crystals = data.pbc.all(dim=1) & (torch.linalg.det(data.cell.detach()) != 0)
    known: Tensor = crystals & ~data.stress.isnan().flatten(1).any(dim=1)
    return known
