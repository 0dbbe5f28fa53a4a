"""Whether stresses of independent crystals can be in eV/Å^3, and of ASE's sign."""

import math
from collections.abc import Sequence

import numpy as np
from ase.units import GPa
from torch_geometric.data import Data

from molflt.data.check.crystal_pairs import CrystalPairs
from molflt.data.check.stress_hints import stress_belongs

_LARGE = 0.6  # eV/Å^3, 96 GPa: most training sets are far below
_KBAR = 16.0  # a typical stress above is rather in kbar than in GPa
_NEAR = math.log(2.0)  # of what energies change by, from the work of the stress
_SIGN = "the sign is that of a pressure or virial, ASE's is positive under tension"


def stress_value_hint(graphs: Sequence[Data]) -> str | None:
    """Return a suspicion about stresses that should be in eV/Å^3, or None.

    It is about structures that need not follow from each other: about sizes that no
    crystal survives, and a trace that falls where crystals of one composition are
    wider. Nothing is said where a trajectory shows that stress and energies belong
    together (`stress_belongs`); one that shows the contrary is told by `stress_hint`.

    Args:
        graphs: Structures with the labels that they have.
    """
    crystals = [g for g in graphs if "stress" in g and float(g.cell.det().abs()) > 0]
    if not crystals or stress_belongs(graphs):
        return None
    sizes = [float(graph.stress.abs().max()) for graph in crystals]
    typical = float(np.median(sizes))
    pairs, ones = CrystalPairs(crystals), np.ones(len(crystals))
    if typical > _LARGE and _deviation(pairs, ones) > _NEAR:
        return (
            f"the largest component of stress is typically {typical:.3g}, which would "
            f"be {typical / GPa:,.0f} GPa: it looks like {_unit(pairs, typical)}, "
            "eV/Å^3 is expected"
        )
    if pairs.fall:
        return (
            "where crystals of one composition are wider, the trace of the stress is "
            f"mostly smaller ({_SIGN})"
        )
    return None


def _unit(pairs: CrystalPairs, typical: float) -> str:
    """Return in words what large stresses are likely to be."""
    virial = "a virial in eV (stress = -virial / volume: --virial-key)"
    per_volume = 1 / pairs.volumes
    scales = {"GPa": np.full_like(per_volume, GPa)}
    scales["kbar"] = 0.1 * scales["GPa"]
    pressure = " with the sign of a pressure"
    known = {name: (scale, 1.0) for name, scale in scales.items()}
    known |= {name + pressure: (scale, -1.0) for name, scale in scales.items()}
    known[virial] = per_volume, -1.0
    off = {
        words: _deviation(pairs, sign * scale)
        for words, (scale, sign) in known.items()
        if sign == pairs.trend
    }
    likely = {words: size for words, size in off.items() if size < _NEAR}
    if virial in likely:  # as near as GPa of that sign in cells of 160 Å^3, and usual
        likely.pop(f"GPa{pressure}", None)
    if likely:
        return min(likely, key=likely.__getitem__)
    unit = "GPa" if typical < _KBAR else "kbar"
    if pairs.fall:
        return f"{virial} or {unit}{pressure}"
    sensible = typical * float(np.median(per_volume)) < _LARGE
    return f"{unit}, or {virial}" if sensible else unit


def _deviation(pairs: CrystalPairs, scale: np.ndarray) -> float:
    """Return |log| of energies over the work of the scaled stress; inf: not known."""
    factor = pairs.energy_over_work(scale)
    return abs(math.log(factor)) if factor and factor > 0 else math.inf
