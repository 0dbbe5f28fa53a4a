"""Atoms that files of any format can hold."""

from ase import Atoms


def plain(atoms: Atoms) -> Atoms:
    """Return a copy that any format can hold: labels, but no nested information."""
    copy = atoms.copy()
    copy.calc = atoms.calc
    copy.info = {
        key: value
        for key, value in atoms.info.items()
        if isinstance(value, str | int | float | bool) or hasattr(value, "dtype")
    }
    return copy
