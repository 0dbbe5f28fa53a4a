"""Whether energies and forces of neighbouring frames belong together."""

from collections.abc import Sequence
from itertools import pairwise

from torch_geometric.data import Data

from molflt.data.check.work_factor import are_same_atoms, common_factor
from molflt.units import BOHR, HARTREE, KCAL_PER_MOL

_LONGEST_STEP = 0.3  # Å of an atom between two frames that are compared
_LEAST_WORK = 1e-4  # in the unit of the file; less drowns in rounded energies
_SUSPICIOUS = {
    -1.0: "forces have the wrong sign: they may be gradients",
    KCAL_PER_MOL: "energies in eV, forces in kcal/mol/Å?",
    1 / KCAL_PER_MOL: "energies in kcal/mol, forces in eV/Å?",
    HARTREE: "energies in eV, forces in hartree/Å?",
    1 / HARTREE: "energies in hartree, forces in eV/Å?",
    HARTREE / BOHR: "energies in eV, forces in hartree/bohr?",
    1 / BOHR: "energies in hartree, forces in hartree/bohr?",
    1 / (HARTREE * BOHR): "energies in hartree, forces in eV/bohr?",
}
"""What a ratio of energy to work may mean."""


def work_hint(graphs: Sequence[Data]) -> str | None:
    """Return a suspicion about energies and forces of one trajectory, or None.

    From one frame to the next, the energy of the same atoms changes by the work of the
    forces, in units that belong together::

        E_2 - E_1 = -1/2 (F_1 + F_2) . (x_2 - x_1) + O(|x_2 - x_1|^3)

    The trapezoidal rule; compared are frames that follow each other, in which no atom
    moves further than 0.3 Å. Signs and factors are told by the median ratio, if most
    pairs agree on it; frames drawn at random say nothing.

    Args:
        graphs: Structures in the order of their file.
    """
    ratios = [ratio for pair in pairwise(graphs) if (ratio := _ratio(*pair))]
    found = common_factor(ratios, _SUSPICIOUS, "units differ", 0.2)
    if found is None:
        return None
    factor, words = found
    return (
        f"from frame to frame energies change by {factor:.3g} times the work of the "
        f"forces ({words})"
    )


def _ratio(first: Data, second: Data) -> float | None:
    """Return energy difference over work; None if two frames cannot be compared."""
    if not all("energy" in g and "forces" in g for g in (first, second)):
        return None
    if not are_same_atoms(first, second):
        return None
    if bool((first.cell != second.cell).any()):
        return None
    step = (second.pos - first.pos).double()
    if float(step.norm(dim=1).max()) > _LONGEST_STEP:
        return None
    work = -0.5 * float(((first.forces + second.forces).double() * step).sum())
    if abs(work) < _LEAST_WORK:
        return None
    # None as well where the energy is the same: it was rounded.
    return (float(second.energy) - float(first.energy)) / work or None
