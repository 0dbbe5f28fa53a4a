"""From the units of targets to those of ASE: eV, Å, e and K."""

from typing import Final

from molflt.units import (
    BOHR,
    DEBYE,
    ELEMENTARY_CHARGE,
    HARTREE,
    KCAL_PER_MOL,
    KJ_PER_MOL,
)

PLANCK: Final = 6.62607015e-34  # J s, exact

_FACTORS: Final[dict[str, tuple[float, str]]] = {
    "hartree": (HARTREE, "eV"),
    "meV": (1e-3, "eV"),
    "kcal/mol": (KCAL_PER_MOL, "eV"),
    "kJ/mol": (KJ_PER_MOL, "eV"),
    "cal/mol/K": (1e-3 * KCAL_PER_MOL, "eV/K"),
    "GHz": (1e9 * PLANCK / ELEMENTARY_CHARGE, "eV"),  # h nu
    "D": (DEBYE, "e A"),
    "a0": (BOHR, "A"),
    "a0^2": (BOHR**2, "A^2"),
    "a0^3": (BOHR**3, "A^3"),
}


def ase_unit(unit: str) -> tuple[float, str]:
    """Return the factor into ASE's unit, and that unit; others are kept as they are."""
    return _FACTORS.get(unit, (1.0, unit))
