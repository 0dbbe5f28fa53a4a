"""XYZ files frame by frame, in memory that does not grow with the file.

ASE's own reader first lists where every frame starts, and ends at the first frame it
cannot read.
"""

import copy
from collections.abc import Callable, Iterator
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_properties
from ase.data import atomic_numbers
from ase.io.extxyz import key_val_str_to_dict, read_xyz
from ase.io.formats import open_with_compression

from molflt.errors import InputError

_COLUMNS = "species:S:1:pos:R:3"
_FIXED = (str, int, float, bool)  # what need not be copied
_RESULTS = {*all_properties}  # of which ASE makes a calculator


def iterate_xyz(path: str | Path) -> Iterator[Callable[[], Atoms]]:
    """Yield a function for each frame that makes its atoms, or raises what is wrong.

    Raises:
        InputError: As `frame_texts`.
    """
    for text in frame_texts(path):
        yield lambda text=text: atoms_of(text)  # type: ignore[misc]


def frame_texts(path: str | Path) -> Iterator[str]:
    """Yield the lines of each frame; blank lines between them are no part of any.

    Args:
        path: An (extended) XYZ file, perhaps compressed.

    Raises:
        InputError: A frame does not start with its number of atoms, or is cut short;
            nothing after it can be read.
    """
    with open_with_compression(str(path), "rt") as file:
        ahead = file.readline().removeprefix("\ufeff")  # some editors write it
        while ahead:
            if not ahead.strip():
                ahead = file.readline()
                continue
            text, ahead = _frame(file, ahead)
            yield text


def _frame(file: IO[Any], head: str) -> tuple[str, str]:
    """Return the text of a frame that starts with `head`, and the line after it."""
    try:
        count = int(head)
    except ValueError as error:
        raise InputError(
            f"a frame must start with its number of atoms, not {head.strip()[:40]!r}"
        ) from error
    lines = [head, *(file.readline() for _ in range(count + 1))]
    if count < 0 or not lines[-1]:
        raise InputError(f"the file ends before the {count} atoms of the frame")
    ahead = file.readline()
    while ahead.lstrip().startswith("VEC"):  # lattice vectors of an older dialect
        lines.append(ahead)
        ahead = file.readline()
    return "".join(lines), ahead


def atoms_of(text: str) -> Atoms:
    """Return the atoms of the lines of one frame."""
    if (plain := _plain(text)) is not None:
        return plain
    (atoms,) = read_xyz(StringIO(text), index=0)
    return atoms


@lru_cache(64)
def _header(comment: str) -> dict[str, Any]:
    """Return what the second line of a frame says; frames often have the same."""
    return dict(key_val_str_to_dict(comment)) if comment else {}


def _plain(text: str) -> Atoms | None:
    """Return what ASE's reader does, in half the time, of species and positions alone.

    None where there is more, or something is wrong: ASE's reader knows what.
    """
    head, comment, *lines = text.rstrip("\n").split("\n")
    info: dict[str, Any] = {
        key: value if isinstance(value, _FIXED) else copy.deepcopy(value)
        for key, value in _header(comment.strip()).items()
    }
    if info.pop("Properties", _COLUMNS) != _COLUMNS or not _RESULTS.isdisjoint(info):
        return None
    try:
        symbols, x, y, z = zip(*(line.split() for line in lines), strict=True)
        positions = np.array([x, y, z], dtype=np.float64).T
        numbers = [atomic_numbers[symbol.capitalize()] for symbol in symbols]
    except (ValueError, KeyError):
        return None
    if len(numbers) != int(head):
        return None
    lattice = info.pop("Lattice", None)
    pbc = info.pop("pbc", None if lattice is None else True)
    cell = None if lattice is None else lattice.T
    return Atoms(numbers, positions, cell=cell, pbc=pbc, info=info)
