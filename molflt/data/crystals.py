"""Which structures have a stress: crystals, and others that have a label of one."""

from ase import Atoms
from jaxtyping import Bool
from torch import Tensor
from torch_geometric.data import Data

from molflt.graph.index import has_volume


def is_crystal(atoms: Atoms) -> bool:
    """Whether a structure has a volume that repeats in three directions."""
    return bool(atoms.pbc.all()) and atoms.cell.volume > 0


def stress_is_known(data: Data) -> Bool[Tensor, " g"]:
    """Return which structures of a graph or batch have a stress label that counts.

    Zeros of what is no crystal are what codes write where they compute none.

    Args:
        data: Structures with the label `stress`, NaN where there is none.
    """
    label = data.stress.flatten(1)
    told = data.pbc.all(dim=1) | (label != 0).any(dim=1)
    known: Tensor = has_volume(data) & told & ~label.isnan().any(dim=1)
    return known
