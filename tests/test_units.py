import ase.units
import pytest

from molflt import units


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (units.HARTREE, ase.units.Hartree),
        (units.BOHR, ase.units.Bohr),
        (units.KCAL_PER_MOL, ase.units.kcal / ase.units.mol),
        (units.KJ_PER_MOL, ase.units.kJ / ase.units.mol),
        (units.DEBYE, ase.units.Debye),
    ],
)
def test_units_agree_with_an_older_table(ours, theirs):
    """ASE uses CODATA 2014: the same to seven digits."""
    assert ours == pytest.approx(theirs, rel=1e-7)


def test_values_of_the_si_of_2019():
    assert pytest.approx(0.0433641043, abs=1e-10) == units.KCAL_PER_MOL
    assert pytest.approx(0.2081943, abs=1e-7) == units.DEBYE
