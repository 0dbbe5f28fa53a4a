"""A calculator of ASE's that is given its results, and computes alone if it has to."""

from collections.abc import Callable, Mapping
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from molflt.errors import InputError


class GivenResults(Calculator):
    """Results that were computed elsewhere; alone where an optimiser wants more.

    Args:
        compute: Computes energy and forces of the atoms, and fills them in; returns
            what was wrong.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, compute: Callable[[], dict[int, InputError]]) -> None:
        super().__init__()
        self._compute = compute

    def fill(self, atoms: Atoms, found: Mapping[str, Any]) -> None:
        """Take energy, forces and, if known, stress for the atoms where they are."""
        self.atoms = atoms.copy()
        self.results = {name: found[name] for name in ("energy", "forces")}
        self.results["free_energy"] = found["energy"]
        if "stress" in found:
            self.results["stress"] = found["stress"]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = None,
        system_changes: Any = all_changes,
    ) -> None:
        """Compute this structure alone."""
        for error in self._compute().values():
            raise error
