"""How labels are read from files of ASE, which do not say what their numbers mean."""

from dataclasses import dataclass, fields

from molflt.data.tags import TagRule
from molflt.errors import UsageError
from molflt.targets import TargetKind, TargetSpec


@dataclass(frozen=True)
class LabelRules:
    """How labels and tags are read from files that ASE reads, and what they mean.

    Args:
        energy_key: Name of the energy in `info`, a calculator's results or a database;
            None: ``energy``. If given, it must be there.
        forces_key: Name of the forces; None: ``forces``, where there are any. If given,
            they must be there.
        stress: Read the stress too; a frame without it is an error.
        tags: How to read tags, see `molflt.data.tags`.
        kind: What the energy means, see `TargetSpec`; one that is no potential energy
            has no forces, whatever the file says. Of energies after relaxation, the
            positions after it are read from an array ``pos_relaxed``, if it is there.
        reference: What zero energy means.

    Raises:
        UsageError: Forces or stress are asked for of an energy that has none.
    """

    energy_key: str | None = None
    forces_key: str | None = None
    stress: bool = False
    tags: TagRule = "auto"
    kind: TargetKind = "potential"
    reference: str = ""

    def __post_init__(self) -> None:
        if not self.have_forces and (self.forces_key or self.stress):
            raise UsageError(
                "Forces and stress are derivatives of a potential energy; an energy of "
                f"kind {self.kind} has none."
            )

    @property
    def have_forces(self) -> bool:
        """Whether forces in a file are those of its energy."""
        return self.kind == "potential"

    @property
    def target(self) -> TargetSpec:
        """What the energy is."""
        return TargetSpec("energy", kind=self.kind, reference=self.reference)

    def differing(self, other: "LabelRules") -> list[str]:
        """Return the names of the fields that are not those of `other`."""
        names = [field.name for field in fields(self)]
        return [name for name in names if getattr(self, name) != getattr(other, name)]


DEFAULT_RULES = LabelRules()
"""Potential energies, and forces where there are any, where ASE itself puts them."""
