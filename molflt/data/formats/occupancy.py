"""Sites of a crystal that are not of one atom: no structure that a model can see."""

from collections.abc import Mapping
from typing import Any

from ase import Atoms

from molflt.errors import InputError

_NOTHING = 0.01
"""A share this small is none."""


def refuse_disorder(atoms: Atoms, where: str = "The structure") -> None:
    """Refuse a crystal whose sites are shared by species, or empty at times.

    ASE reads such sites of a CIF as the species that is most of them, and keeps what
    the file says in ``info["occupancy"]``.

    Args:
        atoms: The structure.
        where: File and frame, for errors.

    Raises:
        InputError: It has, or a share is no number; the sentence names the site.
    """
    sites = atoms.info.get("occupancy")
    if not isinstance(sites, Mapping):
        return
    for number, species in sites.items():
        if not isinstance(species, Mapping) or not species:
            continue  # somebody else's
        shares = {name: _share(share, number, where) for name, share in species.items()}
        present = [share for share in shares.values() if share > _NOTHING]
        if len(present) != 1 or abs(present[0] - 1) > _NOTHING:
            listed = ", ".join(f"{name} {share:g}" for name, share in shares.items())
            raise InputError(
                f"{where} is disordered: site {number} is {listed}; give an ordered "
                "structure."
            )


def _share(share: Any, number: Any, where: str) -> float:
    try:
        return float(share)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{where} has info['occupancy'] {share!r} at site {number}, which is no "
            "number."
        ) from error
