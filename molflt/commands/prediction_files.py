"""Files of predictions: written row by row, kept only if complete."""

import csv
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.db import connect
from ase.db.core import convert_str_to_int_float_bool_or_str

from molflt.data.formats.plain import database_pairs, plain
from molflt.errors import InputError
from molflt.evaluation import Ensemble
from molflt.files import atomic_path
from molflt.predict import Structure

Writer = Callable[[Structure], None]


@contextmanager
def open_writer(path: Path, ensemble: Ensemble) -> Iterator[Writer]:
    """Yield a function that adds one structure with its predictions to `path`.

    ========= ==================================================================
    suffix    content
    ========= ==================================================================
    .extxyz   the structures as read, with ``predicted_{target}``, its unit and
              reference in `info`, ``predicted_forces`` [eV/Å] in `arrays`,
              ``predicted_stress`` (6,) [eV/Å^3], in Voigt's order as in ASE, in `info`;
              labels of the input stay
    .csv      one row a structure; columns of predictions and labels name units
    .db       ASE database with key-value pairs ``predicted_{target}`` beside those of
              the input; forces, stress and what `info` has in `data`; units and
              references in its metadata
    ========= ==================================================================

    Of an ensemble there is ``predicted_{target}_std`` too. A target that failed for a
    structure is left out, or is an empty cell.

    Raises:
        InputError: The file cannot be written; then an older one is left as it was.
    """
    opener = {".extxyz": _extxyz, ".csv": _csv, ".db": _db}[path.suffix.lower()]
    with atomic_path(path) as temporary, opener(temporary, ensemble) as write:
        yield write


@contextmanager
def _extxyz(path: Path, ensemble: Ensemble) -> Iterator[Writer]:
    with open(path, "w", encoding="utf-8") as file:

        def write(structure: Structure) -> None:
            atoms = plain(structure.atoms)
            atoms.info |= _pairs(structure)
            atoms.info |= {f"predicted_{k}": v for k, v in structure.tensors.items()}
            for spec in ensemble.targets:
                name = f"predicted_{spec.name}"
                atoms.info[f"{name}_unit"] = spec.unit
                if spec.reference:
                    atoms.info[f"{name}_reference"] = spec.reference
            for name, array in structure.arrays.items():
                atoms.arrays[f"predicted_{name}"] = array
            ase.io.write(file, atoms, format="extxyz")

        yield write


@contextmanager
def _csv(path: Path, ensemble: Ensemble) -> Iterator[Writer]:
    with open(path, "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        head = ["file", "frame", "id", "formula", "num_atoms", "pbc"]
        several = len(ensemble.models) > 1
        for spec in ensemble.targets:
            head += [f"predicted_{spec.name} [{spec.unit}]"]
            head += [f"predicted_{spec.name}_std [{spec.unit}]"] * several
            head += [f"label_{spec.name} [{spec.unit}]", f"reference_{spec.name}"]
        table.writerow(head)

        def write(structure: Structure) -> None:
            atoms = structure.atoms
            row: list[Any] = [structure.file, structure.frame, structure.sid]
            row += [_formula(np.sort(atoms.numbers).tobytes()), len(atoms)]
            row += ["".join("FT"[int(flag)] for flag in atoms.pbc)]
            for spec in ensemble.targets:
                row += [_cell(structure.values, spec.name)]
                row += [_cell(structure.deviations, spec.name)] * several
                row += [_cell(structure.labels, spec.name), spec.reference]
            table.writerow(row)

        yield write


@contextmanager
def _db(path: Path, ensemble: Ensemble) -> Iterator[Writer]:
    try:
        with connect(path, type="db", append=True) as database:
            database.metadata = {
                f"predicted_{spec.name}": {"unit": spec.unit, "zero": spec.reference}
                for spec in ensemble.targets
            }

            def write(structure: Structure) -> None:
                # ASE refuses texts that look like a number, such as a file named "1".
                origin = {"file": _wordlike(structure.file), "frame": structure.frame}
                atoms = plain(structure.atoms)
                pairs = database_pairs(structure.atoms)
                info = {k: v for k, v in atoms.info.items() if k not in pairs}
                found = structure.arrays | structure.tensors
                arrays = {f"predicted_{k}": v for k, v in found.items()}
                database.write(
                    atoms,
                    key_value_pairs=pairs | origin | _pairs(structure),
                    data=_storable(info) | arrays,
                )

            yield write
    except sqlite3.Error as error:
        raise InputError(f"Cannot write the database: {error}.") from error


def _storable(info: dict[str, Any]) -> dict[str, Any]:
    """Return what a database of ASE can hold: no NumPy scalar, no array of texts."""
    found = {}
    for key, value in info.items():
        if not isinstance(value, np.ndarray):
            found[key] = value.item() if isinstance(value, np.generic) else value
        elif value.dtype.kind in "biuf":
            found[key] = value
    return found


@lru_cache(4096)
def _formula(numbers: bytes) -> str:
    """Return the formula of sorted atomic numbers; many structures have the same."""
    return str(Atoms(np.frombuffer(numbers, dtype=int)).get_chemical_formula())


def _pairs(structure: Structure) -> dict[str, float]:
    """Return predictions and deviations by the names they have in files."""
    pairs = {f"predicted_{name}": value for name, value in structure.values.items()}
    for name, value in structure.deviations.items():
        pairs[f"predicted_{name}_std"] = value
    return pairs


def _cell(values: dict[str, float], name: str) -> str:
    return repr(values[name]) if name in values else ""


def _wordlike(file: str) -> str:
    plain = isinstance(convert_str_to_int_float_bool_or_str(file), str)
    return file if plain else f"./{file}"
