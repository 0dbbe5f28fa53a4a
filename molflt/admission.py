"""The one way in: from ASE atoms to what a model sees, or why it must not see them."""

import numpy as np
from ase import Atoms

from molflt.data.formats.occupancy import refuse_disorder
from molflt.data.labels.electrons import refuse_charge_and_spin
from molflt.data.molecule import atoms_arrays
from molflt.data.tags import TagRule, map_tags
from molflt.domain import Domain


def admit(
    atoms: Atoms, domain: Domain, tags: TagRule, where: str
) -> tuple[dict[str, np.ndarray], str]:
    """Return the arrays of a structure that models may be asked about.

    Args:
        atoms: The structure.
        domain: What the models were trained for.
        tags: How to read its tags, see `molflt.data.tags`.
        where: File and frame, or another name, for errors.

    Returns:
        Its arrays, see `molflt.data.system.system_arrays`, and one line on how the tags
        were read.

    Raises:
        InputError: A charge or spin; sites of several species; tags, species, places or
            a lattice that cannot be used; species or missing tags that the training set
            rules out.
        UsageError: There is no such rule for tags.
    """
    refuse_charge_and_spin(atoms, where)
    refuse_disorder(atoms, where)
    mapped, note = map_tags(atoms, domain.tag_rule(tags), where)
    system = atoms_arrays(atoms, mapped, where)
    domain.refuse_unknown(system, where)
    return system, note
