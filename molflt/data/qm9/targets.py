"""The 19 targets of QM9 in PyG's order, with units and what kind of quantity each is.

Source: R. Ramakrishnan et al., Sci. Data 1, 140022 (2014); B3LYP/6-31G(2df,p). Upstream
gives energies in hartree and atomisation energies in kcal/mol; here both are in eV.

None of the targets is a *potential* energy, not even `u0`: it includes the zero-point
vibration, and the data hold minima only, so that its gradient would not be a force.
Energies, heat capacity and zero-point energy grow with the molecule and are summed
over atoms; orbital energies and rotational constants do not, and are averaged. Dipole
moment, polarisability and <R^2> have readouts of their own (`molflt.nn.readout.base`).
"""

from typing import Final

import numpy as np

from molflt.errors import UsageError
from molflt.targets import ReadoutName, TargetSpec
from molflt.units import HARTREE, KCAL_PER_MOL

ATOM_REFERENCES: Final[dict[str, dict[int, float]]] = {
    "u0": {
        1: -13.61312172,
        6: -1029.86312267,
        7: -1485.30251237,
        8: -2042.61123593,
        9: -2713.48485589,
    },
    "u": {
        1: -13.5745904,
        6: -1029.82456413,
        7: -1485.26398105,
        8: -2042.5727046,
        9: -2713.44632457,
    },
    "h": {
        1: -13.54887564,
        6: -1029.79887659,
        7: -1485.2382935,
        8: -2042.54701705,
        9: -2713.42063702,
    },
    "g": {
        1: -13.90303183,
        6: -1030.25891228,
        7: -1485.71166277,
        8: -2043.01812778,
        9: -2713.88796536,
    },
}
"""Energies of free atoms [eV]: upstream's atomref file, as PyG converts it."""

_REFERENCE = "total energy with zero-point vibration, B3LYP/6-31G(2df,p)"
_AT_298 = ", at 298.15 K"


def _energy(name: str, reference: str) -> TargetSpec:
    atoms = ATOM_REFERENCES[name]
    return TargetSpec(name, "eV", "property", reference, True, atoms)


def _other(
    name: str,
    unit: str,
    reference: str,
    extensive: bool,
    readout: ReadoutName = "atoms",
) -> TargetSpec:
    return TargetSpec(name, unit, "property", reference, extensive, None, readout)


_DIPOLE = _other("mu", "D", "dipole moment, its length", False, "dipole")
_ALPHA = _other("alpha", "a0^3", "isotropic polarisability", True, "polarisability")
_EXTENT = _other("r2", "a0^2", "electronic spatial extent <R^2>", True, "extent")


# Column of gdb9.sdf.csv, factor into the unit of the target, target; in PyG's order
# (the file has A, B, C first).
_COLUMNS: Final[tuple[tuple[str, float, TargetSpec], ...]] = (
    ("mu", 1.0, _DIPOLE),
    ("alpha", 1.0, _ALPHA),
    ("homo", HARTREE, _other("homo", "eV", "vacuum", False)),
    ("lumo", HARTREE, _other("lumo", "eV", "vacuum", False)),
    ("gap", HARTREE, _other("gap", "eV", "LUMO - HOMO", False)),
    ("r2", 1.0, _EXTENT),
    ("zpve", HARTREE, _other("zpve", "eV", "bottom of the potential well", True)),
    ("u0", HARTREE, _energy("u0", f"internal energy at 0 K: {_REFERENCE}")),
    ("u298", HARTREE, _energy("u", f"internal energy{_AT_298}: {_REFERENCE}")),
    ("h298", HARTREE, _energy("h", f"enthalpy{_AT_298}: {_REFERENCE}")),
    ("g298", HARTREE, _energy("g", f"free energy{_AT_298}: {_REFERENCE}")),
    ("cv", 1.0, _other("cv", "cal/mol/K", f"heat capacity{_AT_298}", True)),
    ("u0_atom", KCAL_PER_MOL, _other("u0_atom", "eV", "free atoms, u0", True)),
    ("u298_atom", KCAL_PER_MOL, _other("u_atom", "eV", "free atoms, u", True)),
    ("h298_atom", KCAL_PER_MOL, _other("h_atom", "eV", "free atoms, h", True)),
    ("g298_atom", KCAL_PER_MOL, _other("g_atom", "eV", "free atoms, g", True)),
    ("A", 1.0, _other("A", "GHz", "rotational constant", False)),
    ("B", 1.0, _other("B", "GHz", "rotational constant", False)),
    ("C", 1.0, _other("C", "GHz", "rotational constant", False)),
)

QM9_TARGETS: Final = tuple(spec for _, _, spec in _COLUMNS)
CSV_COLUMNS: Final = tuple(column for column, _, _ in _COLUMNS)
CSV_FACTORS: Final = np.array([factor for _, factor, _ in _COLUMNS])


def qm9_targets(names: str | list[str]) -> tuple[TargetSpec, ...]:
    """Return the targets of the given names.

    Raises:
        UsageError: An unknown name, a name given twice, or none.
    """
    chosen = [names] if isinstance(names, str) else list(names)
    known = {spec.name: spec for spec in QM9_TARGETS}
    for name in chosen:
        if name not in known:
            raise UsageError(f"QM9 has no target {name!r}; it has {', '.join(known)}.")
    if not chosen or len(set(chosen)) != len(chosen):
        raise UsageError(f"QM9 needs one or several different targets, not {chosen}.")
    return tuple(known[name] for name in chosen)
