"""Whether stress and energy of neighbouring frames belong together."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from ase.units import GPa
from torch_geometric.data import Data

from molflt.data.check.work_factor import are_same_atoms, common_factor, is_one

_LARGEST_STRAIN = 0.1  # between two frames that are compared
_LONGEST_STEP = 0.3  # Å of an atom, besides moving with the cell
_LEAST_WORK = 1e-4  # eV per Å^3 of stress label times volume; less drowns in rounding
_SPREAD = 0.3  # relative difference of ratios that agree
_MEANINGS = {
    -1.0: "the sign is that of a pressure or virial",
    GPa: "GPa instead of eV/Å^3?",
    -GPa: "GPa with the sign of a pressure, instead of eV/Å^3?",
    0.1 * GPa: "kbar instead of eV/Å^3?",
    -0.1 * GPa: "kbar with the sign of a pressure, instead of eV/Å^3?",
}
"""What a ratio of energy to work may mean."""


def stress_hint(graphs: Sequence[Data]) -> str | None:
    """Return a suspicion about the stress of one file's frames, or None.

    From one frame to the next, the energy of the same atoms changes by the work of
    stress and forces::

        E_2 - E_1 = 1/2 (V_1 s_1 + V_2 s_2) : e - 1/2 (F_1 + F_2) . d

    with the strain e from one cell to the other, and what atoms move besides, d. The
    factor that the stress lacks is told by the median over the pairs that follow each
    other, if most agree on it; where cells are the same, stress says nothing.

    Args:
        graphs: Structures in the order of their file.
    """
    found = common_factor(_ratios(graphs), _MEANINGS, "another unit?", _SPREAD)
    if found is None:
        return None
    factor, words = found
    return (
        "where cells change from frame to frame, energies change by "
        f"{factor:.3g} times the work of the stress ({words})"
    )


def stress_belongs(graphs: Sequence[Data]) -> bool:
    """Whether energies of frames that follow each other change by the stress's work.

    Args:
        graphs: Structures in the order of their file.
    """
    return is_one(_ratios(graphs), _SPREAD)


def _ratios(graphs: Sequence[Data]) -> list[float]:
    return [ratio for pair in pairwise(graphs) if (ratio := _ratio(*pair))]


def _ratio(first: Data, second: Data) -> float | None:
    """Return what stress must be multiplied by; None if frames cannot be compared."""
    if not all("energy" in g and "stress" in g for g in (first, second)):
        return None
    if not are_same_atoms(first, second):
        return None
    start, end = (graph.cell[0].double().numpy() for graph in (first, second))
    volumes = np.abs(np.linalg.det([start, end]))
    if volumes.min() < 1e-3:
        return None
    change = np.linalg.solve(start, end)  # rows of positions: x -> x @ change
    strain = (change + change.T) / 2 - np.eye(3)
    moves = second.pos.double().numpy() - first.pos.double().numpy() @ change
    longest = float(np.linalg.norm(moves, axis=1).max())
    if np.abs(change - np.eye(3)).max() > _LARGEST_STRAIN or longest > _LONGEST_STEP:
        return None
    stress = sum(
        volume * graph.stress[0].double().numpy() / 2
        for volume, graph in zip(volumes, (first, second), strict=True)
    )
    work = float((stress * strain).sum())
    if abs(work) < _LEAST_WORK:
        return None
    if longest > 1e-4 and not ("forces" in first and "forces" in second):
        return None
    rest = float(second.energy) - float(first.energy)
    if longest > 1e-4:
        forces = (first.forces + second.forces).double().numpy()
        rest += 0.5 * float((forces * moves).sum())
    return rest / work or None
