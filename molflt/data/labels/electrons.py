"""Charge and spin of a structure: models without them as input must not see any."""

from typing import Any

import numpy as np
from ase import Atoms

from molflt.data.formats.plain import all_info
from molflt.errors import InputError

CHARGE_KEYS = ("charge", "total_charge", "net_charge", "formal_charge")
"""Names in `info` of the total charge [e], in small or capital letters."""

SPIN_KEYS = ("spin", "total_spin", "multiplicity", "spin_multiplicity", "mult")
"""Names in `info` of 2S + 1; 0 is written by those who mean that there is none."""

_NOTHING = ("", "none", "nan", "singlet")


def refuse_charge_and_spin(atoms: Atoms, where: str = "The structure") -> None:
    """Refuse a structure that is said to have a charge or unpaired electrons.

    Looked at are the names above in `info` (and in the pairs and data of a database),
    the sum of the initial charges and, of molecules, that of the initial magnetic
    moments: `ase.build.bulk` gives them to metals, as a guess for electronic-structure
    codes. Partial charges that add up to zero are no charge.

    Args:
        atoms: The structure.
        where: File and frame, for errors.

    Raises:
        InputError: It has, or a text under these names is no number; the sentence says
            where that stands.
    """
    for key, value in stated(atoms).items():
        if isinstance(value, str):
            raise InputError(
                f"{where} has info[{key!r}] {value!r}, which is no number."
            )
        if key.lower() in CHARGE_KEYS and abs(value) > 1e-6:
            _refuse(where, f"the charge {value:g} (info[{key!r}])")
        if key.lower() in SPIN_KEYS and value not in (0.0, 1.0):
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


def stated(atoms: Atoms) -> dict[str, float | str]:
    """Return what `info` or a row of a database says, by key.

    Texts such as ``+1`` and ``1-`` count as the number they spell; others are returned.
    """
    keys = {*CHARGE_KEYS, *SPIN_KEYS}
    return {
        key: _number(value)
        for key, value in all_info(atoms).items()
        if isinstance(key, str) and key.lower() in keys
    }


def _number(value: Any) -> float | str:
    """Return what stands there as a number; 0 for nothing and lists, text if none."""
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in _NOTHING:
            return 0.0
        if text[-1] in "+-" and (text[:-1] or "1").isdigit():  # 1-, as chemists write
            text = text[-1] + (text[:-1] or "1")
        try:
            return float(text)
        except ValueError:
            return value
    array = np.asarray(0.0 if value is None else value)
    one_number = array.size == 1 and array.dtype.kind in "biuf"
    number = float(array.reshape(())) if one_number else 0.0
    return 0.0 if np.isnan(number) else number


def _refuse(where: str, what: str, hint: str = "") -> None:
    raise InputError(
        f"{where} has {what}, and the model takes neither charge nor spin as input"
        f"{hint}."
    )
