"""Tables of SMILES with numbers beside them, as property data sets come."""

import csv
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from ase import Atoms

from molflt.data.formats.cells import info_of
from molflt.data.formats.compressed import UNREADABLE, open_text
from molflt.data.formats.smiles import smiles_to_atoms
from molflt.errors import InputError

_NAMES = ("sid", "id", "name", "mol_id")
"""Columns of an id, the first of them that is there."""


def iterate_table(path: str | Path) -> Iterator[tuple[str, Atoms | InputError]]:
    """Read a table: a column ``smiles``, and others that become `info` (`info_of`).

    Yields where each molecule stands, and its conformer (`smiles_to_atoms`) or what is
    wrong with it. A column ``sid``, ``id``, ``name`` or ``mol_id`` becomes
    ``info["sid"]``, or else the SMILES.

    Args:
        path: Values with a header, separated by commas, semicolons or tabs.

    Raises:
        InputError: No such file, no text, no column of SMILES, or no rows.
    """
    path = Path(path)
    count = -1
    try:
        with open_text(path, newline="") as file:
            header = file.readline()
            rows = csv.reader(
                chain([header], file), strict=True, delimiter=_separator(header)
            )
            columns = [name.strip() for name in next(rows, [])]
            for name in columns:
                if name and columns.count(name) > 1:
                    raise InputError(f"{path} has the column {name!r} twice.")
            by_name = {name.lower(): name for name in columns}
            if "smiles" not in by_name:
                raise InputError(
                    f"{path} has no column 'smiles'; its columns are: "
                    f"{', '.join(columns) or 'none'}."
                )
            ids = [by_name[name] for name in _NAMES if name in by_name]
            for row in rows:
                cells = [cell.strip() for cell in row]
                if not any(cells) and len(cells) <= len(columns):
                    continue  # a line of blanks
                count += 1
                where = f"{path}, line {rows.line_num}"
                try:
                    if len(cells) != len(columns):
                        raise InputError(
                            f"{where}: the row has more or fewer cells than the header."
                        )
                    own = dict(zip(columns, cells, strict=True))
                    yield where, _molecule(own, by_name["smiles"], ids, where)
                except InputError as error:
                    yield where, error
    except (*UNREADABLE, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a table of SMILES ({error}).") from error
    if count < 0:
        raise InputError(f"{path} has no molecules.")


def _separator(header: str) -> str:
    """Return what stands around the name ``smiles``; a comma: it is not there."""
    for separator in ",;\t":
        names = next(csv.reader([header], delimiter=separator), [])
        if "smiles" in {name.strip().lower() for name in names}:
            return separator
    return ","


def _molecule(cells: dict[str, str], column: str, ids: list[str], where: str) -> Atoms:
    smiles = cells.pop(column)
    if not smiles:
        raise InputError(f"{where}: there is no SMILES.")
    atoms = smiles_to_atoms(smiles, where=where)
    sid = next((cells[name] for name in ids if cells[name]), smiles)
    atoms.info = info_of(cells) | atoms.info | {"sid": sid}
    return atoms
