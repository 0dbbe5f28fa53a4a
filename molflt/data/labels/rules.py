"""How labels are read from files that do not say what their numbers mean."""

from dataclasses import dataclass, fields

from molflt.data.labels.electrons import CHARGE_KEYS, SPIN_KEYS
from molflt.data.molecule import check_target_name
from molflt.data.tags import TagRule
from molflt.errors import InputError, UsageError
from molflt.targets import TargetKind, TargetSpec


@dataclass(frozen=True)
class LabelRules:
    """How labels and tags are read from files of structures, and what they mean.

    Args:
        energy_key: Name of the energy in `info`, a calculator's results or a database;
            None: ``energy``. If given, it must be there.
        forces_key: Name of the forces; None: ``forces``, where there are any. If given,
            they must be there.
        stress: Read the stress too; a frame without it is an error, unless it is not
            periodic in three directions and has none.
        tags: How to read tags, see `molflt.data.tags`.
        kind: What the energy means, see `TargetSpec`; one that is no potential energy
            has no forces, whatever the file says. Of energies after relaxation, the
            positions after it are read from an array ``pos_relaxed``, if it is there.
        reference: What zero energy means.
        targets: What to read instead of an energy alone: numbers by their names, among
            the places of `energy_key`. Each says itself what it means.
        missing_labels: Whether a frame may lack some of the targets, or have NaN there;
            one without any is left out. Forces are then read if `forces_key` is given.
        stress_key: Name of the stress, which is then read; None: ``stress``.
        virial_key: Name of the virial [eV] of a crystal, from which the stress is read:
            stress = -virial / volume.
        group_key: Name of what structures have in common that are not to be split.

    Raises:
        UsageError: Forces or stress are asked for of an energy that has none, or the
            targets contradict each other or the other options.
        InputError: A target cannot have its name.
    """

    energy_key: str | None = None
    forces_key: str | None = None
    stress: bool = False
    tags: TagRule = "auto"
    kind: TargetKind = "potential"
    reference: str = ""
    targets: tuple[TargetSpec, ...] = ()
    missing_labels: bool = False
    stress_key: str | None = None
    virial_key: str | None = None
    group_key: str | None = None

    def __post_init__(self) -> None:
        if self.targets:
            self._check_targets()
        if self.stress_key and self.virial_key:
            raise UsageError("The stress is read from stress_key or from virial_key.")
        if not self._is_potential and (self.forces_key or self.have_stress):
            raise UsageError(
                "Forces and stress are derivatives of a potential energy; "
                + (
                    "there is none among the targets."
                    if self.targets
                    else f"an energy of kind {self.kind} has none."
                )
            )

    def _check_targets(self) -> None:
        names = [spec.name for spec in self.targets]
        for name in names:
            check_target_name(name)
            if name in (*CHARGE_KEYS, *SPIN_KEYS):
                raise InputError(
                    f"{name!r} cannot be the name of a target: it says of a structure "
                    "how it is charged, or its spin."
                )
        if twice := [name for name in names if names.count(name) > 1]:
            raise UsageError(f"The target {twice[0]!r} is named twice.")
        if self.kind != "potential" or self.reference:
            raise UsageError(
                "Kind and reference are those of an energy alone; each of several "
                "targets has its own."
            )
        if self.energy_key and "energy" not in names:
            raise UsageError(
                f"There is no target 'energy' to be read from {self.energy_key!r}."
            )
        for spec in self.targets:
            plain = spec.name == "energy" and spec.unit == "eV" and spec.extensive
            if spec.kind == "potential" and not plain:
                raise UsageError(
                    f"The target {spec.name!r} is of kind potential, which a sum over "
                    "atoms in eV can be that is called energy (energy_key says where "
                    "it stands); others are of kind property or relaxed."
                )

    @property
    def specs(self) -> tuple[TargetSpec, ...]:
        """What is read: the targets, or the energy."""
        energy = TargetSpec("energy", kind=self.kind, reference=self.reference)
        return self.targets or (energy,)

    def key(self, name: str) -> str:
        """Return under which name a target stands in files."""
        return (name == "energy" and self.energy_key) or name

    @property
    def have_forces(self) -> bool:
        """Whether forces in a file are read, which are those of a target.

        Either all frames have them or none: where energies may be missing, they have to
        be asked for.
        """
        if self.missing_labels and not self.forces_key:
            return False
        return self._is_potential

    @property
    def _is_potential(self) -> bool:
        return any(spec.kind == "potential" for spec in self.specs)

    @property
    def have_stress(self) -> bool:
        """Whether the stress is read."""
        return bool(self.stress or self.stress_key or self.virial_key)

    @property
    def have_relaxed(self) -> bool:
        """Whether positions after relaxation go with a target."""
        return any(spec.kind == "relaxed" for spec in self.specs)

    def differing(self, other: "LabelRules") -> list[str]:
        """Return the names of the fields that are not those of `other`."""
        names = [field.name for field in fields(self)]
        return [name for name in names if getattr(self, name) != getattr(other, name)]


DEFAULT_RULES = LabelRules()
"""Potential energies, and forces where there are any, where ASE itself puts them."""
