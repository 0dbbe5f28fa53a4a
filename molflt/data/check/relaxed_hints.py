"""Energies taken for those after a relaxation that belong to the geometry given."""

from pathlib import Path

import numpy as np

from molflt.data.formats.structure_files import iterate_structures
from molflt.data.labels.frame_labels import read_labels
from molflt.data.labels.rules import LabelRules
from molflt.data.molecule import held_atoms
from molflt.data.source import FILE_FORMAT, open_source
from molflt.errors import InputError

LARGE = 0.2  # eV/Å; relaxations end at a few hundredths


def relaxed_hint(source: str | Path, rules: LabelRules) -> str | None:
    """Return a sentence if the first energy stands beside forces, as of its geometry.

    A trajectory or an OUTCAR has the energy of each step, none of which is that of the
    relaxed end. Forces on atoms that `FixAtoms` holds say nothing.

    Args:
        source: The file.
        rules: How its labels were read.
    """
    relaxed = any(
        spec.kind == "relaxed" and rules.key(spec.name) == "energy"
        for spec in rules.specs
    )
    if not relaxed or open_source(source).format != FILE_FORMAT:
        return None
    try:
        atoms = next((atoms for _, atoms in iterate_structures(source)), None)
        if atoms is None or isinstance(atoms, InputError):
            return None
        energy, forces = read_labels(atoms)
    except InputError:  # it was left out
        return None
    if energy is None or forces is None:
        return None
    largest = np.linalg.norm(forces[~held_atoms(atoms)], axis=1).max(initial=0.0)
    if not largest > LARGE:
        return None
    return (
        f"{source}: its energies stand beside forces ({largest:.2g} eV/Å in the "
        "first), so they may be those of the geometries, not of where relaxations end; "
        "a structure for kind relaxed is a start with the energy of the end."
    )
