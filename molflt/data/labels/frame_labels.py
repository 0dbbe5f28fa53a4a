"""The labels of one frame, wherever ASE keeps them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress

from molflt.data.crystals import is_crystal
from molflt.data.formats.plain import all_info
from molflt.data.labels.rules import LabelRules
from molflt.errors import InputError


class NoLabelError(InputError):
    """A structure has no label of any target, where some may be missing."""


_HIDDEN = {"key_value_pairs", "data", "unique_id", "numbers", "positions"}


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
    energy = _number(places(atoms), energy_key or "energy", where)
    if energy is None and energy_key:
        raise _absent(atoms, [energy_key], where)
    return energy, read_forces(atoms, forces_key, where)


def read_targets(
    atoms: Atoms, rules: LabelRules, where: str = "", *, needed: bool = True
) -> dict[str, float]:
    """Find the targets of one frame by name, without those that are missing.

    Args:
        atoms: The frame.
        rules: Which targets, and where.
        where: File and frame, for errors.
        needed: A frame without them is an error even if the rules name none.

    Raises:
        NoLabelError: Labels may be missing, and all are.
        InputError: One is missing that must be there, or is not one number.
    """
    found = places(atoms)
    labels = {}
    for spec in rules.specs:
        value = _number(found, rules.key(spec.name), where)
        if value is not None and not (rules.missing_labels and math.isnan(value)):
            labels[spec.name] = value
    missing = [rules.key(s.name) for s in rules.specs if s.name not in labels]
    if rules.missing_labels:
        if not labels:
            raise NoLabelError(str(_absent(atoms, missing, where)))
    elif missing and (needed or rules.targets or rules.energy_key):
        hint = "; structures may lack targets with missing_labels (--missing-labels)"
        raise _absent(atoms, missing, where, hint if rules.targets else "")
    return labels


def read_forces(
    atoms: Atoms, key: str | None = None, where: str = ""
) -> np.ndarray | None:
    """Find the forces (n, 3) [eV/Å] of one frame; None: there are none.

    Args:
        atoms: The frame.
        key: Their name; they must be there. None: ``forces``.
        where: File and frame, for errors.

    Raises:
        InputError: A key that was asked for is missing, or they have another shape.
    """
    forces = places(atoms).get(key or "forces")
    if forces is None and key:
        raise _absent(atoms, [key], where)
    return _vectors(forces, key or "forces", "forces", len(atoms), where)


def read_common(atoms: Atoms, key: str, where: str = "") -> str:
    """Return, as text, what a frame has in common with others of its group.

    Raises:
        InputError: It is not there, or neither a number nor text.
    """
    value = places(atoms).get(key)
    if value is None:
        raise _absent(atoms, [key], where)
    if np.size(value) != 1:
        raise InputError(f"{where}: {key!r} is neither one number nor text.")
    return str(value)


def _absent(
    atoms: Atoms, keys: Sequence[str], where: str, hint: str = ""
) -> InputError:
    seen = ", ".join(label_keys(atoms)) or "none"
    wanted = ", ".join(map(repr, keys))
    return InputError(f"{where}: no {wanted}; the keys there are: {seen}{hint}.")


def _number(found: Mapping[str, Any], key: str, where: str) -> float | None:
    """Return a number by its name; None: it is not there."""
    value = found.get(key)
    if value is None:
        return None
    if np.size(value) != 1 or not _numeric(value):
        shown = f", but {value!r}" if isinstance(value, str) else ""
        raise InputError(f"{where}: {key!r} is not one number{shown}.")
    return float(np.reshape(value, ()))


def label_keys(atoms: Atoms) -> list[str]:
    """Return the names of everything in a frame that may be a label."""
    return sorted(set(places(atoms)) - _HIDDEN)


def places(atoms: Atoms) -> dict[str, Any]:
    """Return everything of a frame that may be a label, by name."""
    results: dict[str, Any] = {} if atoms.calc is None else atoms.calc.results
    return atoms.arrays | all_info(atoms) | results


def read_stress(
    atoms: Atoms,
    where: str = "",
    key: str | None = None,
    virial_key: str | None = None,
) -> np.ndarray | None:
    """Find the stress (3, 3) [eV/Å^3] of one frame, positive under tension as in ASE.

    Frames that are not periodic in three directions need none (None), and zeros are
    none: codes give them to molecules and slabs.

    Args:
        atoms: The frame; ``stress`` of its calculator or of `info`, as a matrix or in
            Voigt's order xx, yy, zz, yz, xz, xy.
        where: File and frame, for errors.
        key: Another name of it.
        virial_key: Name of the virial [eV], to be read instead: -virial / volume.

    Raises:
        InputError: A crystal has none, it is no such array, or what has no periodic
            directions or no volume has one that is not zero.
    """
    name = virial_key or key or "stress"
    stress = places(atoms).get(name)
    if not is_crystal(atoms):
        if stress is None or (_numeric(stress) and not np.nan_to_num(stress).any()):
            return None
        if not (atoms.pbc.any() and atoms.cell.volume > 0):
            raise InputError(
                f"{where}: {name!r} is not zero, and without periodic directions and a "
                "volume there is no stress; leave it out, or set pbc and cell."
            )
    if stress is None:
        hint = " (a virial is no stress: name it by virial_key)"
        raise _absent(atoms, [name], where, "" if key or virial_key else hint)
    if not _numeric(stress) or np.size(stress) not in (6, 9):
        raise InputError(
            f"{where}: {name!r} has shape {np.shape(stress)}, not (6,) or (3, 3)."
        )
    if np.size(stress) == 6:
        stress = voigt_6_to_full_3x3_stress(np.reshape(stress, 6))
    stress = np.asarray(stress, dtype=np.float64).reshape(3, 3)
    if virial_key is None:
        return stress
    return -stress / atoms.cell.volume


def read_relaxed(atoms: Atoms, where: str = "") -> np.ndarray | None:
    """Find the positions after relaxation (n, 3) [Å] of one frame; None: not there.

    Args:
        atoms: The frame; ``pos_relaxed`` of it, among the places of `read_labels`.
        where: File and frame, for errors.

    Raises:
        InputError: They have the wrong shape.
    """
    relaxed = places(atoms).get("pos_relaxed")
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
