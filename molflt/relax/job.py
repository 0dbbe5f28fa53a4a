"""A structure that is relaxed: where it is, how far it came, what is wrong with it."""

from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from molflt.closeness import has_close_atoms
from molflt.errors import InputError
from molflt.read_structures import Structure, digest_of

_KEPT = ("energy", "forces", "stress")


@dataclass
class Job:
    """One structure on its way.

    Args:
        index: Its number in the input, from 0.
        structure: As it was read; its atoms move.
        steps: Steps already made, in an earlier run too.
        fmax: Largest force on an atom that is not held [eV/Å], or gradient by the cell
            [eV]; NaN: not yet known where the atoms are now.
        converged: Whether that is below the threshold.
        initial_energy: Energy [eV] of the structure that was read.
    """

    index: int
    structure: Structure
    steps: int = 0
    fmax: float = float("nan")
    converged: bool = False
    initial_energy: float = float("nan")
    start: np.ndarray = field(init=False)
    origin: str = field(init=False)
    """Cell (3, 3) [Å] and digest of the structure that was read."""

    def __post_init__(self) -> None:
        self.start, self.origin = np.array(self.atoms.cell), digest_of(self.atoms)

    @property
    def atoms(self) -> Atoms:
        """The atoms where they are now."""
        return self.structure.atoms

    @property
    def has_close_atoms(self) -> bool:
        """Whether atoms are closer to each other now than bonds are."""
        atoms = self.atoms
        cell = np.array(atoms.cell)
        return has_close_atoms(atoms.numbers, atoms.positions, cell, atoms.pbc)

    @property
    def is_judged(self) -> bool:
        """Whether the forces where the atoms are now are known."""
        return not np.isnan(self.fmax)

    def snapshot(self) -> Atoms:
        """Return a copy of the atoms with, if known, energy, forces and stress."""
        copy = self.atoms.copy()
        known = self.is_judged and self.atoms.calc is not None
        results = self.atoms.calc.results if known else {}
        kept = {k: results[k] for k in _KEPT if k in results}
        for name in (*_KEPT, "momenta"):  # of the structure that was read
            copy.info.pop(name, None)
            copy.arrays.pop(name, None)
        copy.calc = SinglePointCalculator(copy, **kept)
        return copy


class JobError(InputError):
    """What is wrong with a structure that was read.

    Args:
        sentence: What.
        index: Its number in the input, from 0.
    """

    def __init__(self, sentence: str, index: int) -> None:
        super().__init__(sentence)
        self.index = index
