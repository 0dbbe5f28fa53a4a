"""Which target is the energy of ASE, and what is said where there is none."""

import pytest

from molflt.energy_target import energy_target, potential_of
from molflt.errors import UsageError
from molflt.targets import TargetSpec

POTENTIAL = TargetSpec("e", kind="potential")
RELAXED = TargetSpec("adsorption", kind="relaxed")
GAP = TargetSpec("gap", kind="property", extensive=False)


def test_potential_energies_come_before_relaxed_ones():
    assert energy_target([GAP, RELAXED, POTENTIAL]) is POTENTIAL
    assert energy_target([GAP, RELAXED]) is RELAXED
    assert energy_target([GAP]) is None
    assert energy_target([GAP, POTENTIAL], "gap") is GAP
    with pytest.raises(UsageError, match="one of the checkpoint's energies"):
        energy_target([GAP], "e")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (GAP, "no potential energy, so there are no forces: gap"),
        (RELAXED, "the energy after relaxation, .* which has no forces: adsorption"),
        (TargetSpec("e", unit="kJ/mol", kind="potential"), "in kJ/mol; FLTCalculator"),
        (TargetSpec("e", unit="Ry", kind="potential"), r"'e' is in Ry\.$"),
    ],
)
def test_relaxations_say_what_a_model_has_instead(target, words):
    with pytest.raises(UsageError, match=f"^A relaxation needs .*{words}"):
        potential_of([target], "A relaxation")
