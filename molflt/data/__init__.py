"""Data sets: from files to graphs, batches and statistics.

| place | concept |
|---|---|
| `emt`, `oc20`, `qm9`, rmd17 | data sets with a name |
| atoms_files, `labels` | one's own files; how their labels are read |
| `formats`, source | structures in files of any format; records of any data file |
| `lmdb`, convert | molflt's own data file; others turned into it |
| `check` | what a file holds, and what looks wrong |
| system, molecule, coincidence | arrays and ASE atoms to graphs, and back |
| tags, slab_tags | surface, sub-surface and adsorbate |
| dataset, own_graphs, random_parts, repeats | sets of graphs and their parts |
| datamodule, batching | splits become loaders |
| statistics, baselines, crystals | what a training set says about a target |
| download, npz, progress | files from elsewhere; long work |
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from molflt.data.atoms_files import AtomsFiles
    from molflt.data.datamodule import GraphDataModule
    from molflt.data.dataset import GraphList
    from molflt.data.emt.datamodule import EMTIS2RE
    from molflt.data.formats.smiles import smiles_to_atoms
    from molflt.data.molecule import atoms_to_graph, make_graph
    from molflt.data.oc20.datamodule import OC20IS2RE
    from molflt.data.qm9.datamodule import QM9
    from molflt.data.rmd17 import RMD17
    from molflt.data.slab_tags import tag_slab

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
    "EMTIS2RE": "molflt.data.emt.datamodule",
    "GraphDataModule": "molflt.data.datamodule",
    "GraphList": "molflt.data.dataset",
    "OC20IS2RE": "molflt.data.oc20.datamodule",
    "QM9": "molflt.data.qm9.datamodule",
    "RMD17": "molflt.data.rmd17",
    "atoms_to_graph": "molflt.data.molecule",
    "make_graph": "molflt.data.molecule",
    "smiles_to_atoms": "molflt.data.formats.smiles",
    "tag_slab": "molflt.data.slab_tags",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: predictions need no Lightning."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
