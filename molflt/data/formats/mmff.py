"""Geometries at minima of the force field MMFF94, by RDKit."""

import numpy as np
from rdkit import Chem
from rdkit.Chem.rdDetermineBonds import DetermineBonds
from rdkit.Chem.rdForceFieldHelpers import (
    MMFFHasAllMoleculeParams,
    MMFFOptimizeMolecule,
)
from rdkit.Geometry import Point3D
from rdkit.rdBase import BlockLogs

MAX_STEPS = 1000


def relax_mmff(molecule: Chem.Mol) -> bool:
    """Move the conformer of a molecule to a minimum of MMFF94, in place.

    Source: Halgren, J. Comput. Chem. 17, 490 (1996).

    Returns:
        Whether it is at a minimum; False also if MMFF94 has no parameters for it.
    """
    if not MMFFHasAllMoleculeParams(molecule):
        return False
    return bool(MMFFOptimizeMolecule(molecule, maxIters=MAX_STEPS) == 0)


def bonded(z: np.ndarray, pos: np.ndarray) -> Chem.Mol | None:
    """Return a neutral molecule with the bonds that its geometry tells; None: it fails.

    Args:
        z: Atomic numbers (n,).
        pos: Positions (n, 3) [Å].
    """
    molecule = Chem.RWMol()
    conformer = Chem.Conformer(len(z))
    for index, (number, place) in enumerate(zip(z, pos, strict=True)):
        molecule.AddAtom(Chem.Atom(int(number)))
        conformer.SetAtomPosition(index, Point3D(*map(float, place)))
    molecule.AddConformer(conformer)
    try:
        with BlockLogs():  # RDKit prints what the errors say
            DetermineBonds(molecule, charge=0)
            Chem.SanitizeMol(molecule)
    except ValueError:
        return None
    return molecule


def mmff_positions(z: np.ndarray, pos: np.ndarray) -> np.ndarray | None:
    """Return the positions of a neutral molecule at the nearest minimum of MMFF94.

    Args:
        z: Atomic numbers (n,).
        pos: Positions (n, 3) [Å].

    Returns:
        Positions (n, 3), or None: the bonds cannot be told, MMFF94 has no parameters
        for them, or no minimum was found.
    """
    molecule = bonded(z, pos)
    if molecule is None or not relax_mmff(molecule):
        return None
    return np.asarray(molecule.GetConformer().GetPositions())
