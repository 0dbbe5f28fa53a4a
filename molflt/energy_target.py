"""Which of several targets is the energy of ASE."""

from collections.abc import Sequence

from molflt.ase_units import ase_unit
from molflt.errors import UsageError
from molflt.gradients import has_forces
from molflt.targets import TargetSpec


def energy_target(
    targets: Sequence[TargetSpec], name: str | None = None
) -> TargetSpec | None:
    """Return the target that stands for the energy, or None if there is none.

    Without a name: the only potential energy, else the only energy after relaxation.

    Raises:
        UsageError: There are several, or `name` is no target in eV, or in a unit that
            is converted to it.
    """
    energies = [spec for spec in targets if ase_unit(spec.unit)[1] == "eV"]
    if name is not None:
        for spec in energies:
            if spec.name == name:
                return spec
        listed = ", ".join(spec.name for spec in energies) or "none"
        raise UsageError(
            f"target must be one of the checkpoint's energies ({listed}), not {name!r}."
        )
    for kind in ("potential", "relaxed"):
        found = [spec for spec in energies if spec.kind == kind]
        if len(found) > 1:
            listed = ", ".join(spec.name for spec in found)
            raise UsageError(
                f"The checkpoint has several energies; choose with target= one of "
                f"{listed}."
            )
        if found:
            return found[0]
    return None


def potential_of(targets: Sequence[TargetSpec], purpose: str) -> TargetSpec:
    """Return the potential energy, for relaxations and dynamics.

    Raises:
        UsageError: There is none in eV; the sentence says what there is instead.
    """
    # Of an energy in a unit that is not ASE's, and not converted, the unit is said.
    spec = energy_target(targets) or next(filter(has_forces, targets), None)
    if spec is None or not has_forces(spec):
        what = ", ".join(f"{t.name} ({t.kind})" for t in targets)
        why = (
            "the energy after relaxation, predicted from an initial structure, which "
            "has no forces"
            if spec is not None
            else "no potential energy, so there are no forces"
        )
        raise UsageError(f"{purpose} needs forces; this model has {why}: {what}.")
    if spec.unit != "eV":
        way_out = "; FLTCalculator converts it, for ASE's own functions"
        raise UsageError(
            f"{purpose} needs a potential energy in eV, and {spec.name!r} is in "
            f"{spec.unit}{way_out if ase_unit(spec.unit)[1] == 'eV' else ''}."
        )
    return spec
