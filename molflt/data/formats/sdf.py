"""SDF and MOL files through RDKit: the structures as they are written."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ase import Atoms
from rdkit import Chem
from rdkit.rdBase import BlockLogs

from molflt.data.formats.cells import info_of
from molflt.data.formats.compressed import UNREADABLE, open_bytes
from molflt.data.formats.rdkit_electrons import charge_and_spin
from molflt.errors import InputError


def iterate_sdf(path: str | Path) -> Iterator[tuple[str, Atoms | InputError]]:
    """Read the molecules of a file one by one; a title becomes ``info["sid"]``.

    Properties go to `info` (`info_of`), by their names.

    Yields where each molecule stands, and its atoms or what is wrong with it: no
    three-dimensional coordinates, or hydrogens that are only implied. Its formal charge
    goes to ``info["charge"]``, unpaired electrons to ``info["multiplicity"]``.

    Args:
        path: A .sdf (many molecules) or .mol (one).

    Raises:
        InputError: No such file, one that cannot be read, or one without molecules.
    """
    path = Path(path)
    count = -1
    try:
        with BlockLogs(), open_bytes(path) as file:
            # Not sanitized: what bonds mean does not matter here, and may be unusual.
            records = Chem.ForwardSDMolSupplier(file, sanitize=False, removeHs=False)
            for count, molecule in enumerate(records):
                where = f"{path}, molecule {count}"
                try:
                    yield where, _atoms(molecule, where)
                except InputError as error:
                    yield where, error
    except (*UNREADABLE, SystemError) as error:  # as RDKit passes them on
        reason = error.__cause__ or error
        raise InputError(f"{path} cannot be read ({reason}).") from error
    if count < 0:
        raise InputError(f"{path} has no molecules.")


def _atoms(molecule: Chem.Mol | None, where: str) -> Atoms:
    if molecule is None or molecule.GetNumAtoms() == 0:
        raise InputError(f"{where}: RDKit cannot read it.")
    conformer = molecule.GetConformer()
    positions = conformer.GetPositions()
    if molecule.GetNumAtoms() > 1 and not (conformer.Is3D() or positions[:, 2].any()):
        raise InputError(
            f"{where}: its coordinates are a drawing in the plane; give a structure in "
            "three dimensions, or a .smi file, for which conformers are made."
        )
    # Without bonds nothing is implied: the atoms are the molecule.
    if molecule.GetNumBonds():
        molecule.UpdatePropertyCache(strict=False)
        if implied := sum(atom.GetNumImplicitHs() for atom in molecule.GetAtoms()):
            raise InputError(
                f"{where}: {implied} hydrogens are only implied; write them with their "
                "positions."
            )
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    atoms = Atoms(numbers, positions=positions, info=info_of(_properties(molecule)))
    atoms.info |= charge_and_spin(molecule)
    if molecule.HasProp("_Name") and (title := molecule.GetProp("_Name").strip()):
        atoms.info["sid"] = title
    return atoms


def _properties(molecule: Chem.Mol) -> dict[str, str]:
    found = {}
    for name in molecule.GetPropNames():
        with suppress(UnicodeDecodeError):  # of another encoding than UTF-8
            found[name] = molecule.GetProp(name)
    return found
