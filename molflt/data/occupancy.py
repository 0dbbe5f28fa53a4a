"""Sites of a crystal that are not of one atom: no structure that a model can see."""

from collections.abc import Mapping

from ase import Atoms

from molflt.errors import InputError


def refuse_disorder(atoms: Atoms, where: str = "The structure") -> None:
    """Refuse a crystal whose sites are shared by species, or empty at times.

    ASE reads such sites of a CIF as the species that is most of them, and keeps what
    the file says in ``info["occupancy"]``.

    Args:
        atoms: The structure.
        where: File and frame, for errors.

    Raises:
        InputError: It has; the sentence names the site.
    """
    sites = atoms.info.get("occupancy")
    if not isinstance(sites, Mapping):
        return
    for number, species in sites.items():
        if not isinstance(species, Mapping):
            continue
        if len(species) != 1 or abs(sum(species.values()) - 1) > 0.01:
            shares = ", ".join(f"{name} {share:g}" for name, share in species.items())
            raise InputError(
                f"{where} is disordered: site {number} is {shares}; give an ordered "
                "structure."
            )
