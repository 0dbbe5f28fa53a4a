"""Frames of any file that ASE reads, with the labels wherever ASE keeps them."""

import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import ase.db
import ase.io
import numpy as np
from ase import Atoms
from ase.io.formats import filetype
from ase.stress import voigt_6_to_full_3x3_stress
from torch_geometric.data import Data

from molflt.data.label_rules import DEFAULT_RULES, LabelRules
from molflt.data.molecule import atoms_to_graph
from molflt.data.xyz import iterate_xyz
from molflt.errors import InputError

_SQLITE = b"SQLite format 3\0"
OF_ALL_OR_NONE = {"forces": "forces", "pos_relaxed": "relaxed positions"}
_HIDDEN = {"key_value_pairs", "data", "unique_id", "numbers", "positions"}


def iterate_atoms(path: str | Path) -> Iterator[tuple[str, Atoms | InputError]]:
    """Read the frames of a file, each with the words that name it in errors.

    Frames of XYZ files and databases that cannot be read come as errors in their place;
    those after them are read. Memory does not grow with XYZ files, trajectories and
    databases.

    Args:
        path: Any file ASE reads: extxyz, traj, db, cif, POSCAR, ...

    Raises:
        InputError: No such file, a folder, empty, or ASE cannot read it.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a structure file.")
    if not path.exists():
        raise InputError(f"No such file: {path}.")
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
    if isinstance(error, KeyError):  # of its table of elements, mostly
        reason = f"no element or key {reason}"
    return InputError(f"{where}: ASE cannot read it ({reason}).")


def _open_frames(path: Path) -> Iterator[Callable[[], Atoms]]:
    if path.suffix != ".db" and not _is_sqlite(path):
        # ASE takes "postgres..." for an address and "name@2" for frame 2 of "name".
        name = str(path.absolute())
        if filetype(name) in ("xyz", "extxyz"):
            return iterate_xyz(path)
        frames = ase.io.iread(name, index=":", do_not_split_by_at_sign=True)
        return (_constant(atoms) for atoms in frames)
    _refuse_foreign_database(path)
    # ASE's own reader of databases drops the key-value pairs, where labels may be.
    rows = ase.db.connect(path, type="db", serial=True).select()
    return (partial(row.toatoms, add_additional_information=True) for row in rows)


def _constant(atoms: Atoms) -> Callable[[], Atoms]:
    return lambda: atoms


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


def read_labels(
    atoms: Atoms,
    energy_key: str | None = None,
    forces_key: str | None = None,
    where: str = "",
) -> tuple[float | None, np.ndarray | None]:
    """Find energy [eV] and forces [eV/Å] of one frame.

    ASE moves an ``energy`` of an extxyz file into the results of a calculator; other
    programs write other names. Without a key the places are the calculator's
    ``energy`` and ``forces``, then those names in `info` and `arrays`, then in the
    key-value pairs and the data of a database's row.

    Args:
        atoms: The frame.
        energy_key: Name of the energy; it must be there.
        forces_key: Name of the forces; they must be there.
        where: File and frame, for errors.

    Returns:
        Energy and forces, None where there are none.

    Raises:
        InputError: A key that was asked for is missing (the message lists those that
            are there), or a value has the wrong shape.
    """
    places = _places(atoms)
    energy = places.get(energy_key or "energy")
    forces = places.get(forces_key or "forces")
    for key, value in ((energy_key, energy), (forces_key, forces)):
        if key is not None and value is None:
            seen = ", ".join(label_keys(atoms)) or "none"
            raise InputError(f"{where}: no {key!r}; the keys there are: {seen}.")
    if energy is not None and (np.size(energy) != 1 or not _numeric(energy)):
        raise InputError(f"{where}: {energy_key or 'energy'!r} is not one number.")
    return (
        None if energy is None else float(np.reshape(energy, ())),
        _vectors(forces, forces_key or "forces", "forces", len(atoms), where),
    )


def label_keys(atoms: Atoms) -> list[str]:
    """Return the names of everything in a frame that may be a label."""
    return sorted(set(_places(atoms)) - _HIDDEN)


def first_keys(path: str | Path) -> list[str]:
    """Return `label_keys` of the first frame of a file that can be read."""
    frames = (atoms for _, atoms in iterate_atoms(path))
    first = next((a for a in frames if not isinstance(a, InputError)), None)
    return [] if first is None else label_keys(first)


def _places(atoms: Atoms) -> dict[str, Any]:
    """Return everything that may be a label, by name; the first place wins."""
    results: dict[str, Any] = {} if atoms.calc is None else atoms.calc.results
    # Of a row of an ASE database.
    row = [atoms.info.get(key) for key in ("data", "key_value_pairs")]
    found: dict[str, Any] = dict(atoms.arrays)
    for place in (*row, atoms.info, results):
        if isinstance(place, dict):
            found |= place
    return found


def read_stress(atoms: Atoms, where: str = "") -> np.ndarray:
    """Find the stress (3, 3) [eV/Å^3] of one frame, positive under tension as in ASE.

    Args:
        atoms: The frame; ``stress`` of its calculator or of `info`, as a matrix or in
            Voigt's order xx, yy, zz, yz, xz, xy.
        where: File and frame, for errors.

    Raises:
        InputError: There is none, or it is no such array.
    """
    stress = _places(atoms).get("stress")
    if stress is None:
        seen = ", ".join(label_keys(atoms)) or "none"
        raise InputError(
            f"{where}: no 'stress'; the keys there are: {seen} (a virial is no stress: "
            "divide it by the volume, and mind its sign)."
        )
    if not _numeric(stress) or np.size(stress) not in (6, 9):
        raise InputError(
            f"{where}: 'stress' has shape {np.shape(stress)}, not (6,) or (3, 3)."
        )
    if np.size(stress) == 6:
        stress = voigt_6_to_full_3x3_stress(np.reshape(stress, 6))
    return np.asarray(stress, dtype=np.float64).reshape(3, 3)


def read_relaxed(atoms: Atoms, where: str = "") -> np.ndarray | None:
    """Find the positions after relaxation (n, 3) [Å] of one frame; None: not there.

    Args:
        atoms: The frame; ``pos_relaxed`` of it, among the places of `read_labels`.
        where: File and frame, for errors.

    Raises:
        InputError: They have the wrong shape.
    """
    relaxed = _places(atoms).get("pos_relaxed")
    return _vectors(relaxed, "pos_relaxed", "positions", len(atoms), where)


def _vectors(
    value: Any, key: str, what: str, count: int, where: str
) -> np.ndarray | None:
    """Return vectors of all atoms (count, 3); None: they are not there."""
    if value is None:
        return None
    if np.shape(value) != (count, 3) or not _numeric(value):
        raise InputError(
            f"{where}: {key!r} has shape {np.shape(value)}, {what} of {count} atoms "
            f"have ({count}, 3)."
        )
    return np.asarray(value, dtype=np.float64)


def _numeric(value: Any) -> bool:
    return np.asarray(value).dtype.kind in "iuf"


def iterate_graphs(
    path: str | Path, rules: LabelRules = DEFAULT_RULES
) -> Iterator[Data]:
    """Read the labelled graphs of a file, in its order; an empty id where it has none.

    Args:
        path: Any file ASE reads.
        rules: How labels are read; a frame without energy is an error, and all frames
            have forces, or relaxed positions, or none.

    Raises:
        InputError: Names file and frame: a missing label, or as `make_graph`.
    """
    first: Data | None = None
    for where, atoms in iterate_atoms(path):
        if isinstance(atoms, InputError):
            raise atoms
        graph = frame_graph(where, atoms, rules)
        first = graph if first is None else first
        for label, name in OF_ALL_OR_NONE.items():
            if (label in graph) != (label in first):
                here, there = ("no ", "some") if label in first else ("", "none")
                raise InputError(
                    f"{where}: there are {here}{name}, but frame 0 has {there}."
                )
        yield graph


def frame_graph(
    where: str, atoms: Atoms, rules: LabelRules, need_energy: bool = True
) -> Data:
    """Make the graph of one frame with the labels it has.

    Args:
        where: File and frame, for errors.
        atoms: The frame.
        rules: How labels are read.
        need_energy: A frame without energy is an error.

    Raises:
        InputError: A label is missing, or as `make_graph`.
    """
    energy, forces = read_labels(atoms, rules.energy_key, rules.forces_key, where)
    if energy is None and need_energy:
        read_labels(atoms, "energy", None, where)  # raises, naming the keys there are
    return atoms_to_graph(
        atoms,
        tags=rules.tags,
        targets=None if energy is None else {"energy": energy},
        forces=forces if rules.have_forces else None,
        pos_relaxed=read_relaxed(atoms, where) if rules.kind == "relaxed" else None,
        stress=read_stress(atoms, where)[None] if rules.stress else None,
        where=where,
    )
