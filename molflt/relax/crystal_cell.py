"""The cell of a crystal that is relaxed with its atoms."""

import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.units import GPa

from molflt.domain import flags
from molflt.errors import InputError

LARGEST_STRETCH = 2.0
"""A cell that is stretched or squeezed further along any direction is lost: that is no
relaxation, and the neighbours in a cell that collapses fill the memory."""


def free_cell(atoms: Atoms, start: np.ndarray, pressure: float) -> FrechetCellFilter:
    """Return what an optimiser moves: the atoms, and the logarithm of the deformation.

    The forces it sees are those on the atoms, in the frame of the cell `start`, and
    minus the gradient of the enthalpy E + P V by that logarithm, per atom [eV].

    Args:
        atoms: The crystal, where it is now.
        start: Cell (3, 3) [Å] that deformations are counted from.
        pressure: P [GPa].
    """
    moved = FrechetCellFilter(atoms, scalar_pressure=pressure * GPa)
    moved.orig_cell = start
    return moved


def cell_problem(atoms: Atoms, start: np.ndarray, where: str) -> InputError | None:
    """Return why a cell cannot be relaxed, or not any further; None: it can.

    It is no crystal's, or no deformation of `start` that can be meant.

    Args:
        atoms: The structure, where it is now.
        start: Cell (3, 3) [Å] that was read.
        where: File and frame, for errors.
    """
    if not atoms.pbc.all() or np.linalg.det(start) == 0:
        return InputError(
            f"{where}: only the cell of a structure with three periodic directions can "
            f"be relaxed, not of one with pbc {flags(atoms.pbc)} and a volume of "
            f"{abs(np.linalg.det(start)):.4g} Å^3."
        )
    cell = np.asarray(atoms.cell)
    if not np.isfinite(cell).all():
        return InputError(f"{where}: the relaxation made a cell that is not finite.")
    stretches = np.linalg.svd(np.linalg.solve(start, cell), compute_uv=False)
    for stretch in (stretches.min(), stretches.max()):
        if not 1 / LARGEST_STRETCH <= stretch <= LARGEST_STRETCH:
            return InputError(
                f"{where}: the relaxation lost the cell, which is {stretch:.2g} times "
                "as long in one direction as it was read; check the structure, the "
                "pressure, and what the model was trained on."
            )
    return None
