"""Factors into ASE's units against ASE's own constants."""

import pytest
from ase import units

from molflt.ase_units import ase_unit
from molflt.data.qm9.targets import QM9_TARGETS


@pytest.mark.parametrize(
    ("unit", "factor", "name"),
    [
        ("eV", 1.0, "eV"),
        ("hartree", units.Hartree, "eV"),
        ("kcal/mol", units.kcal / units.mol, "eV"),
        ("kJ/mol", units.kJ / units.mol, "eV"),
        ("cal/mol/K", 1e-3 * units.kcal / units.mol, "eV/K"),
        ("D", units.Debye, "e A"),
        ("a0^2", units.Bohr**2, "A^2"),
        ("a0^3", units.Bohr**3, "A^3"),
        ("GHz", 1e9 * units._hplanck / units._e, "eV"),
        ("furlong", 1.0, "furlong"),
    ],
)
def test_factors(unit, factor, name):
    found, called = ase_unit(unit)
    assert found == pytest.approx(factor, rel=1e-6)  # ASE has CODATA 2014
    assert called == name


def test_every_unit_of_qm9_is_known():
    for spec in QM9_TARGETS:
        assert ase_unit(spec.unit)[1] in ("eV", "eV/K", "e A", "A^2", "A^3")
