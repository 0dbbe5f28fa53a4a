import pytest

from molflt.data.qm9.targets import QM9_TARGETS
from molflt.unit_names import unit_in_name, unit_of_name


@pytest.mark.parametrize(
    ("unit", "name"),
    [("eV", "eV"), ("D", "D"), ("cal/mol/K", "cal_per_mol_K"), ("a0^3", "a0_3")],
)
def test_units_in_names(unit, name):
    assert unit_in_name(unit) == name


def test_units_come_back_from_names():
    for unit in {spec.unit for spec in QM9_TARGETS} | {"kcal/mol", "meV/atom"}:
        assert unit_of_name(unit_in_name(unit)) == unit
