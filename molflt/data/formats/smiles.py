"""SMILES to structures through RDKit: one seeded conformer per molecule."""

from collections.abc import Iterator
from pathlib import Path

from ase import Atoms
from rdkit import Chem
from rdkit.Chem.rdDistGeom import EmbedMolecule, ETKDGv3
from rdkit.rdBase import BlockLogs

from molflt.data.formats.compressed import UNREADABLE, open_text
from molflt.data.formats.mmff import relax_mmff
from molflt.data.formats.rdkit_electrons import charge_and_spin
from molflt.errors import InputError, prefix_of

SEED = 0


def smiles_to_atoms(smiles: str, seed: int = SEED, where: str = "") -> Atoms:
    """Return a conformer of a molecule, with hydrogens, relaxed with MMFF94.

    Coordinates come from ETKDG (version 3) with a fixed seed, so that the same SMILES
    gives the same structure; where it finds none, it starts again from random
    coordinates. MMFF94, where it has parameters, brings bond lengths and angles near
    their minimum. A charge or unpaired electrons stand in `info`.
    Source: Riniker and Landrum, J. Chem. Inf. Model. 55, 2562 (2015).

    Args:
        smiles: The molecule.
        seed: Seed of the embedding.
        where: File and line, named in errors.

    Raises:
        InputError: RDKit cannot parse or embed the SMILES, or it is of several
            molecules, or has atoms of no element.
    """
    prefix = prefix_of(where)
    with BlockLogs():  # RDKit prints what the error below says
        molecule = Chem.MolFromSmiles(smiles)
    if molecule is None or molecule.GetNumAtoms() == 0:
        raise InputError(f"{prefix}'{smiles}' is not a valid SMILES.")
    if any(atom.GetAtomicNum() == 0 for atom in molecule.GetAtoms()):
        raise InputError(f"{prefix}'{smiles}' has an atom of no element (*).")
    if (parts := len(Chem.GetMolFrags(molecule))) > 1:
        raise InputError(
            f"{prefix}'{smiles}' is {parts} molecules, whose places a SMILES does not "
            "say; give one of them, or a structure."
        )
    molecule = Chem.AddHs(molecule)
    options = ETKDGv3()
    options.randomSeed = seed  # type: ignore[assignment]  # wrong in RDKit's stubs
    with BlockLogs():
        failed = EmbedMolecule(molecule, options) < 0
        if failed:  # as of long chains: slower, and more often successful
            options.useRandomCoords = True  # type: ignore[assignment]  # as above
            failed = EmbedMolecule(molecule, options) < 0
    if failed:
        raise InputError(f"{prefix}RDKit finds no conformer of '{smiles}'.")
    relax_mmff(molecule)
    return Atoms(
        [atom.GetSymbol() for atom in molecule.GetAtoms()],
        positions=molecule.GetConformer().GetPositions(),
        info={"smiles": smiles} | charge_and_spin(molecule),
    )


def iterate_smiles(path: str | Path) -> Iterator[tuple[str, Atoms | InputError]]:
    """Read a .smi file: a SMILES a line, optionally followed by a name.

    Yields where each molecule stands, and its conformer (its name, or else the SMILES,
    becomes ``info["sid"]``) or what is wrong with it.

    Raises:
        InputError: No such file, or one without molecules.
    """
    path = Path(path)
    index = -1
    for index, line in enumerate(_lines(path)):
        smiles, *name = line.split(maxsplit=1)
        where = f"{path}, molecule {index}"
        try:
            atoms = smiles_to_atoms(smiles, where=where)
        except InputError as error:
            yield where, error
            continue
        atoms.info["sid"] = name[0].strip() if name else smiles
        yield where, atoms
    if index < 0:
        raise InputError(f"{path} has no SMILES.")


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines that are neither empty nor comments, as they are read."""
    try:
        with open_text(path) as file:
            for line in file:
                if line.strip() and not line.startswith("#"):
                    yield line
    except (*UNREADABLE, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a text file of SMILES ({error}).") from error
