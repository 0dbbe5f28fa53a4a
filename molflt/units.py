"""Units: molflt works in eV, Å and debye; every factor below converts *into* these.

Source: CODATA 2018, https://physics.nist.gov/cuu/Constants. The SI fixes
Avogadro's number, the elementary charge and the speed of light, so that `KCAL_PER_MOL`
and `DEBYE` follow exactly from definitions.
"""

from typing import Final

AVOGADRO: Final = 6.02214076e23  # 1/mol, exact
ELEMENTARY_CHARGE: Final = 1.602176634e-19  # C, exact
SPEED_OF_LIGHT: Final = 299_792_458.0  # m/s, exact

HARTREE: Final = 27.211386245988
"""One hartree in eV."""

BOHR: Final = 0.529177210903
"""One bohr in Å."""

KCAL_PER_MOL: Final = 4184.0 / (AVOGADRO * ELEMENTARY_CHARGE)
"""One (thermochemical) kcal/mol in eV, 0.0433641..."""

KJ_PER_MOL: Final = 1000.0 / (AVOGADRO * ELEMENTARY_CHARGE)
"""One kJ/mol in eV."""

DEBYE: Final = 1e-11 / SPEED_OF_LIGHT / ELEMENTARY_CHARGE
"""One debye in e Å, 0.2081943..."""
