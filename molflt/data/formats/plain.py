"""Atoms that files of any format can hold."""

from typing import Any

from ase import Atoms


def plain(atoms: Atoms) -> Atoms:
    """Return a copy that any format can hold: labels, but no nested information.

    A database's key-value pairs, which ASE nests, stand in `info` by their own names.
    """
    copy = atoms.copy()
    copy.calc = atoms.calc
    copy.info = {
        key: value
        for key, value in (database_pairs(atoms) | atoms.info).items()
        if isinstance(value, str | int | float | bool) or hasattr(value, "dtype")
    }
    return copy


def id_of(atoms: Atoms) -> str:
    """Return what `info`, or the row of a database, has as ``sid``; "": nothing."""
    return str((database_pairs(atoms) | atoms.info).get("sid", ""))


def all_info(atoms: Atoms) -> dict[str, Any]:
    """Return `info` with the data and pairs of a database's row by their own names."""
    row = atoms.info.get("data")
    found: dict[str, Any] = row if isinstance(row, dict) else {}
    return found | database_pairs(atoms) | atoms.info


def database_pairs(atoms: Atoms) -> dict[str, Any]:
    """Return the key-value pairs of the row of a database that `atoms` were read from.

    Of other structures there are none.
    """
    pairs = atoms.info.get("key_value_pairs")
    return dict(pairs) if isinstance(pairs, dict) else {}
