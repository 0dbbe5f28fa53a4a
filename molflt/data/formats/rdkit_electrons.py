"""Charge and spin of molecules of RDKit, apart from `electrons`: it loads RDKit."""

from rdkit import Chem


def charge_and_spin(molecule: Chem.Mol) -> dict[str, int]:
    """Return for `info` the charge and multiplicity of a molecule that has any."""
    found = {}
    if charge := Chem.GetFormalCharge(molecule):
        found["charge"] = charge
    if unpaired := sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms()):
        found["multiplicity"] = unpaired + 1
    return found
