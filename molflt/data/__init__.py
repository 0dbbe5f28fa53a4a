"""Data sets: from files to graphs, batches and statistics."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from molflt.data.atoms_files import AtomsFiles
    from molflt.data.datamodule import GraphDataModule
    from molflt.data.dataset import GraphList
    from molflt.data.emt import EMTIS2RE
    from molflt.data.molecule import atoms_to_graph, make_graph
    from molflt.data.oc20 import OC20IS2RE
    from molflt.data.qm9 import QM9
    from molflt.data.rmd17 import RMD17
    from molflt.data.slab_tags import tag_slab
    from molflt.data.smiles import smiles_to_atoms

__all__ = [
    "EMTIS2RE",
    "OC20IS2RE",
    "QM9",
    "RMD17",
    "AtomsFiles",
    "GraphDataModule",
    "GraphList",
    "atoms_to_graph",
    "make_graph",
    "smiles_to_atoms",
    "tag_slab",
]

_HOMES = {
    "AtomsFiles": "molflt.data.atoms_files",
    "EMTIS2RE": "molflt.data.emt",
    "GraphDataModule": "molflt.data.datamodule",
    "GraphList": "molflt.data.dataset",
    "OC20IS2RE": "molflt.data.oc20",
    "QM9": "molflt.data.qm9",
    "RMD17": "molflt.data.rmd17",
    "atoms_to_graph": "molflt.data.molecule",
    "make_graph": "molflt.data.molecule",
    "smiles_to_atoms": "molflt.data.smiles",
    "tag_slab": "molflt.data.slab_tags",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: predictions need no Lightning."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
