"""Signs that energies or lengths are not in eV and Å."""

from collections.abc import Sequence
from statistics import median

import numpy as np
from ase.data import covalent_radii
from scipy.spatial import cKDTree
from torch_geometric.data import Data

from molflt.units import BOHR, HARTREE, KCAL_PER_MOL, KJ_PER_MOL

SAMPLE = 300
"""Structures of a set that suspicions about units are built on."""

_ENERGY_UNITS = {
    "hartree": 1.0,
    "rydberg": 2.0,
    "eV": HARTREE,
    "kcal/mol": HARTREE / KCAL_PER_MOL,
    "kJ/mol": HARTREE / KJ_PER_MOL,
}
_NOBLE_GASES = (2, 10, 18, 36, 54, 86)
_LARGE_PER_ATOM = 100.0  # eV; binding and pseudopotential energies are below
_LARGE_FORCE = 10.0  # eV/Å, root mean square; kcal/mol/Å near equilibrium is above


def all_electron_energy(numbers: np.ndarray) -> float:
    """Estimate the total energy of free atoms [hartree], to 1 % from carbon on.

    The Thomas-Fermi-Scott-Schwinger series, per atom

        E = -0.768745 Z^(7/3) + Z^2 / 2 - 0.269900 Z^(5/3)

    Schwinger, Phys. Rev. A 24, 2353 (1981), doi:10.1103/PhysRevA.24.2353.
    """
    z = numbers.astype(np.float64)
    series = -0.768745 * z ** (7 / 3) + 0.5 * z**2 - 0.269900 * z ** (5 / 3)
    return float(series.sum())


def energy_hint(graphs: Sequence[Data], name: str) -> str | None:
    """Return a suspicion about total energies that should be in eV, or None.

    Energies with all electrons are recognised by their ratio to those of free atoms:
    within 15 % of it in hartree, kcal/mol, ... Others are only compared with what is
    usual per atom.
    """
    labelled = [graph for graph in graphs if name in graph]
    if not labelled:
        return None
    energies = [float(graph[name]) for graph in labelled]
    free = [all_electron_energy(graph.z.numpy()) for graph in labelled]
    ratios = np.divide(energies, free)
    for unit, factor in _ENERGY_UNITS.items():
        if (np.abs(ratios / factor - 1) < 0.15).mean() > 0.8:
            if unit == "eV":
                return None
            return f"{name} looks like {unit} (all electrons), eV is expected"
    sizes = [len(graph.z) for graph in labelled]
    typical = median(np.abs(np.divide(energies, sizes)).tolist())
    if typical > _LARGE_PER_ATOM:
        return (
            f"{name} is typically {typical:,.0f} per atom, much for eV (another unit?)"
        )
    return None


def force_hint(graphs: Sequence[Data]) -> str | None:
    """Return a suspicion about forces that should be in eV/Å, or None."""
    squares = [float(g.forces.square().mean()) for g in graphs if "forces" in g]
    if squares and (typical := median(squares) ** 0.5) > _LARGE_FORCE:
        return (
            f"forces are typically {typical:.0f} per component, much for eV/Å "
            "(kcal/mol/Å or hartree/bohr?)"
        )
    return None


def length_hint(graphs: Sequence[Data]) -> str | None:
    """Return a suspicion about positions that should be in Å, or None.

    The distance to the nearest neighbour over the sum of covalent radii is about 1; in
    bohr it is 1.9, in nm 0.1. Noble gases, which have no bonds, and images of periodic
    systems are not looked at.
    """
    ratios = []
    for graph in graphs:
        if len(graph.z) < 2:
            continue
        distance, neighbor = cKDTree(graph.pos.numpy()).query(graph.pos.numpy(), k=2)
        z = graph.z.numpy()
        bound = ~np.isin(z, _NOBLE_GASES)
        if not bound.any():
            continue
        bonds = covalent_radii[z] + covalent_radii[z[neighbor[:, 1]]]
        ratios.append(float(np.median((distance[:, 1] / bonds)[bound])))
    if ratios and (typical := median(ratios)) > 1.6:
        return (
            f"neighbours are {typical:.1f} times as far apart as bonds are: "
            f"positions may be in bohr ({1 / BOHR:.2f} to an Å)"
        )
    if ratios and typical < 0.5:
        return (
            f"neighbours are {typical:.2f} times as far apart as bonds are: "
            "positions may be in nm"
        )
    return None
