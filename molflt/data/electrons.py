"""Charge and spin of a structure: models without them as input must not see any."""

from typing import Any

import numpy as np
from ase import Atoms

from molflt.errors import InputError

CHARGE_KEYS = ("charge", "total_charge")
"""Names in `info` of the total charge [e]."""

SPIN_KEYS = ("spin", "total_spin", "multiplicity", "spin_multiplicity")
"""Names in `info` of 2S + 1; 0 is written by those who mean that there is none."""


def refuse_charge_and_spin(atoms: Atoms, where: str = "The structure") -> None:
    """Refuse a structure that is said to have a charge or unpaired electrons.

    Looked at are the names above in `info` (and in the key-value pairs of a database),
    the sum of the initial charges and, of molecules, that of the initial magnetic
    moments: `ase.build.bulk` gives them to metals, as a guess for electronic-structure
    codes. Partial charges that add up to zero are no charge.

    Args:
        atoms: The structure.
        where: File and frame, for errors.

    Raises:
        InputError: It has; the sentence says where that stands.
    """
    for key, value in stated(atoms).items():
        if key in CHARGE_KEYS and abs(value) > 1e-6:
            _refuse(where, f"the charge {value:g} (info[{key!r}])")
        if key in SPIN_KEYS and value not in (0.0, 1.0):
            _refuse(where, f"the multiplicity {value:g} (info[{key!r}])")
    for name, words, remedy in (
        ("initial_charges", "the charge", "set_initial_charges"),
        ("initial_magmoms", "the magnetic moment", "set_initial_magnetic_moments"),
    ):
        guess = name == "initial_magmoms" and atoms.pbc.any()
        if name in atoms.arrays and not guess:
            # Of collinear or non-collinear moments: the sum of each component.
            total = np.asarray(atoms.arrays[name], dtype=np.float64).sum(axis=0)
            largest = float(np.abs(total).max())
            if largest > 0.01:
                hint = f"; if it only was a starting guess, call atoms.{remedy}(None)"
                _refuse(where, f"{words} {largest:g} ({name.replace('_', ' ')})", hint)


def stated(atoms: Atoms) -> dict[str, float]:
    """Return what `info` or the key-value pairs of a database say, by key.

    Texts such as ``+1`` count as the number they spell.
    """
    pairs = atoms.info.get("key_value_pairs")
    places = {**(pairs if isinstance(pairs, dict) else {}), **atoms.info}
    keys = (*CHARGE_KEYS, *SPIN_KEYS)
    return {key: _number(places[key]) for key in keys if key in places}


def _number(value: Any) -> float:
    """Return what stands there as a number; 0 if nothing or no number does."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return 0.0
    array = np.asarray(0.0 if value is None else value)
    return float(array.reshape(())) if array.size == 1 and _numeric(array) else 0.0


def _numeric(array: np.ndarray) -> bool:
    return array.dtype.kind in "iuf"


def _refuse(where: str, what: str, hint: str = "") -> None:
    raise InputError(
        f"{where} has {what}, and the model takes neither charge nor spin as input"
        f"{hint}."
    )
