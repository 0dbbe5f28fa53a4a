"""Structures of any file: what ASE reads, molecules of SDF and SMILES through RDKit."""

from collections.abc import Callable, Iterator
from pathlib import Path

from ase import Atoms

from molflt.data.formats.ase_frames import iterate_atoms
from molflt.data.formats.compressed import suffix_of
from molflt.data.formats.sdf import iterate_sdf
from molflt.data.formats.smiles import iterate_smiles
from molflt.data.formats.smiles_table import iterate_table
from molflt.errors import InputError

_READERS: dict[str, Callable[[Path], Iterator[tuple[str, Atoms | InputError]]]] = {
    ".smi": iterate_smiles,
    ".smiles": iterate_smiles,
    ".csv": iterate_table,
    ".tsv": iterate_table,
    ".sdf": iterate_sdf,
    ".mol": iterate_sdf,
}


def iterate_structures(path: str | Path) -> Iterator[tuple[str, Atoms | InputError]]:
    """Read a file's structures, each with the words that name it in errors.

    Args:
        path: ``.sdf`` and ``.mol`` (properties of molecules become `info`), ``.smi``
            or ``.smiles`` (a SMILES a line), ``.csv`` or ``.tsv`` (a column
            ``smiles``; others become `info`), or what ASE reads; perhaps compressed
            (``.gz``, ``.bz2``, ``.xz``). SMILES become conformers.

    Raises:
        InputError: No such file, or as a whole it cannot be read.
    """
    path = Path(path)
    return _READERS.get(suffix_of(path), iterate_atoms)(path)
