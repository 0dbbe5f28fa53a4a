"""Frames of any file that ASE reads."""

import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import ase.db
import ase.io
from ase import Atoms
from ase.io.formats import UnknownFileTypeError, filetype

from molflt.data.formats.compressed import open_bytes, suffix_of
from molflt.data.formats.xyz import iterate_xyz
from molflt.errors import InputError

_SQLITE = b"SQLite format 3\0"


def iterate_atoms(path: str | Path) -> Iterator[tuple[str, Atoms | InputError]]:
    """Read the frames of a file, each with the words that name it in errors.

    Frames of XYZ files and databases that cannot be read come as errors in their place;
    those after them are read. Memory does not grow with XYZ files, trajectories and
    databases.

    Args:
        path: Any file ASE reads: extxyz, traj, db, cif, POSCAR, ...

    Raises:
        InputError: No such file, a folder, a pipe, empty, or ASE cannot read it.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a structure file.")
    if not path.exists():
        hint = "; /dev/stdin is what follows <" if str(path) == "-" else ""
        raise InputError(f"No such file: {path}{hint}.")
    if not path.is_file():  # a pipe, whose beginning can be read but once
        raise InputError(f"{path} is no file but a pipe or device; name a file.")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty.")
    frame = 0
    frames: Iterator[Callable[[], Atoms]] | None = None
    while True:
        where = f"{path}, frame {frame}"
        make = None
        try:
            with warnings.catch_warnings():
                # Parsers warn about their formats; what matters is checked here.
                warnings.simplefilter("ignore")
                frames = frames or _open_frames(path)
                make = next(frames, None)
                found: Atoms | InputError | None = make and make()
        except Exception as error:
            found = _unreadable(error, where, path)
            if make is None:  # nothing after it can be read
                raise found from error
        if found is None:
            break
        yield where, found
        frame += 1
    if frame == 0:
        raise InputError(f"{path} has no structures.")


def _unreadable(error: Exception, where: str, path: Path) -> InputError:
    # ASE's parsers raise whatever occurs to them, also MemoryError: for the shape that
    # a few bytes of text may claim.
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, InputError) and str(path) in reason:
        return error
    if isinstance(error, UnknownFileTypeError):
        return InputError(
            f"{where}: ASE cannot read it (its name is that of no format); convert it "
            "to .extxyz."
        )
    if isinstance(error, KeyError):
        reason = _of_key(reason.strip("'\""))
    if reason == "AssertionError":
        reason = "it is not what its name or beginning says"
    return InputError(f"{where}: ASE cannot read it ({reason}).")


def _of_key(key: str) -> str:
    """Return what is wrong where a parser misses a key: an element, for one."""
    if " " in key:  # a sentence of the parser
        return key.rstrip(".")
    hint = "; deuterium is H" if key in ("D", "T") else ""
    return f"no element or key '{key}'{hint}"


def _open_frames(path: Path) -> Iterator[Callable[[], Atoms]]:
    if path.suffix != ".db" and not _is_sqlite(path):
        # ASE takes "postgres..." for an address and "name@2" for frame 2 of "name".
        name = str(path.absolute())
        if filetype(name) in ("xyz", "extxyz") or _is_xyz(path):
            return iterate_xyz(path)
        frames = ase.io.iread(name, index=":", do_not_split_by_at_sign=True)
        return (_constant(atoms) for atoms in frames)
    _refuse_foreign_database(path)
    # ASE's own reader of databases drops the key-value pairs, where labels may be.
    rows = ase.db.connect(path, type="db", serial=True).select()
    return (partial(row.toatoms, add_additional_information=True) for row in rows)


def _constant(atoms: Atoms) -> Callable[[], Atoms]:
    return lambda: atoms


def _is_xyz(path: Path) -> bool:
    """Return whether name and first line are those of an XYZ file.

    ASE takes `POSCAR_1.extxyz` for a POSCAR, and its own writer makes it one.
    """
    if suffix_of(path) not in (".xyz", ".extxyz"):
        return False
    with open_bytes(path) as file:
        return file.readline(80).strip().isdigit()


def _is_sqlite(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def _refuse_foreign_database(path: Path) -> None:
    """Refuse other programs' databases: ASE would add its tables when it reads them."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as database:
            query = "SELECT COUNT(*) FROM sqlite_master WHERE name = 'systems'"
            (found,) = database.execute(query).fetchone()
    except sqlite3.Error as error:
        raise InputError(f"{path} is not a database of ASE ({error}).") from error
    if not found:
        raise InputError(f"{path} is not a database of ASE (no table 'systems').")
