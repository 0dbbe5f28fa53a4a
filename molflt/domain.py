"""What models were trained for, and structures outside of it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import chemical_symbols

from molflt.closeness import has_close_atoms
from molflt.errors import InputError

if TYPE_CHECKING:
    from molflt.data.tags import TagRule
    from molflt.model import FLTModel


TOO_CLOSE = "atoms closer to each other than bonds are, where predictions are arbitrary"

Arrays = Mapping[str, np.ndarray]
"""Arrays of a structure by name, see `molflt.data.system.system_arrays`."""


class Domain:
    """Species, tags and boundary conditions of the training sets of some models.

    Args:
        models: The models; of an ensemble all must know a species.

    Attributes:
        elements: Atomic numbers known; None: a checkpoint does not say.
        periodic: Patterns of periodic directions seen, such as ``"T T F"``; empty: a
            checkpoint does not say.
        tags: Tags of atoms seen, -1 for none; empty: a checkpoint does not say.
        most_atoms: Atoms of the largest structure; None: a checkpoint does not say.
        least_atoms: Atoms of the smallest structure; 0: a checkpoint does not say.
        odd_electrons: Whether molecules with an odd number of electrons were seen, as
            far as the checkpoints say.
    """

    def __init__(self, models: Sequence["FLTModel"]) -> None:
        known = [_entries(model, "elements") for model in models]
        sets = [{int(z) for z in entries} for entries in known]
        self.elements: set[int] | None = set.intersection(*sets) if all(sets) else None
        self.periodic: set[str] = set()
        patterns = [_entries(model, "pbc_seen") for model in models]
        if all(patterns):
            self.periodic = set.intersection(
                *({flags(pattern) for pattern in seen} for seen in patterns)
            )
        tags = [{int(tag) for tag in _entries(model, "tags_seen")} for model in models]
        self.tags = set.union(*tags) if all(tags) else set()
        summaries = [list(model.statistics.values()) for model in models]
        most = [
            max((s.get("num_atoms_max", 0) for s in each), default=0)
            for each in summaries
        ]
        least = [
            min((s.get("num_atoms_min", 0) for s in each), default=0)
            for each in summaries
        ]
        self.most_atoms = min(most) or None
        self.least_atoms = max(least)
        self.odd_electrons = all(
            any(s.get("odd_electrons_seen") for s in each) for each in summaries
        )
        specs = [spec for model in models for spec in model.targets]
        self._needs_tags = any(spec.interaction for spec in specs)

    def refuse_unknown(self, system: Arrays, where: str) -> None:
        """Refuse structures about which predictions would be arbitrary.

        Args:
            system: ``z`` and ``tags`` of its atoms.
            where: Its name, for the error.

        Raises:
            InputError: It has species that were not trained on; or no atom has a tag
                where an energy counts from an adsorbate: such an energy would be 0.
        """
        unknown = set(system["z"].tolist()) - (self.elements or set())
        if self.elements is not None and unknown:
            names = ", ".join(chemical_symbols[z] for z in sorted(unknown))
            raise InputError(
                f"{where} has {names}, which the model was not trained on; predictions "
                "would be arbitrary."
            )
        if self._needs_tags and (system["tags"] == -1).all():
            raise InputError(
                f"{where} has no tags, and the model's energy is what is between an "
                "adsorbate (tag 2) and its slab (1, below it 0); molflt data tag "
                "FILE OUT.extxyz --adsorbate C,O (molflt.data.tag_slab) sets them."
            )

    def remarks(self, system: Arrays) -> list[str]:
        """Return what a structure has and the training set has not, for warnings."""
        found = []
        if self.lacks_tags(system["tags"]):
            found.append("no tags, unlike all of the training set")
        if pattern := self.unknown_periodicity(system["pbc"][0].tolist()):
            seen = ", ".join(sorted(self.periodic))
            found.append(f"pbc {pattern}, the training set only {seen}")
        return found + self.own_remarks(system)

    def own_remarks(self, system: Arrays) -> list[str]:
        """Return those that are not about tags and periodic directions."""
        cell, pbc = system["cell"][0], system["pbc"][0]
        if has_close_atoms(system["z"], system["pos"], cell, pbc):
            return [TOO_CLOSE, *self.molecule_remarks(system)]
        return self.molecule_remarks(system)

    def molecule_remarks(self, system: Arrays) -> list[str]:
        """Return the same of size and electrons, of which a unit cell says nothing.

        A molecule with an odd number of electrons is a radical, or charged; models take
        neither as input, and what saw none takes it for a closed shell.
        """
        if system["pbc"].any():
            return []
        found = []
        if len(system["z"]) < self.least_atoms:
            least = f"which has {self.least_atoms} and more"
            found.append(f"fewer atoms than any of the training set, {least}")
        if not self.odd_electrons and int(system["z"].sum()) % 2:
            found.append("an odd number of electrons, of which the model knows nothing")
        if 1 in (self.elements or ()) and _lacks_hydrogens(system["z"]):
            found.append("carbon and no hydrogen at all (does the file leave it out?)")
        return found

    def tag_rule(self, rule: "TagRule") -> "TagRule":
        """Return how tags are read: not at all by default, if no training atom had one.

        What the model makes of a tag it was never shown is arbitrary.
        """
        return "none" if rule == "auto" and self.tags == {-1} else rule

    def lacks_tags(self, tags: np.ndarray) -> bool:
        """Whether atoms have no tag though all atoms of the training set had one."""
        return bool(self.tags) and -1 not in self.tags and bool((tags == -1).any())

    def unknown_periodicity(self, pbc: Sequence[bool]) -> str | None:
        """Return the pattern of a structure where no training structure had it."""
        pattern = flags(pbc)
        if not self.periodic or pattern in self.periodic:
            return None
        return pattern

    def silence(self) -> str | None:
        """Return a sentence if the checkpoint does not say what it was trained on."""
        if self.elements is not None:
            return None
        return (
            "The model has no summary of its training set, so that species it was "
            "never trained on cannot be told; its predictions for them are arbitrary."
        )


def _lacks_hydrogens(z: np.ndarray) -> bool:
    """Whether a molecule looks like the heavy atoms of one, as crystallography has it.

    Mostly carbon without hydrogens, or halogens in their place; CO2 and the like are
    small.
    """
    carbons, halogens = (z == 6).sum(), np.isin(z, (9, 17, 35, 53)).sum()
    organic = len(z) > 4 and 2 * carbons >= len(z) and halogens < carbons
    return bool(organic and not (z == 1).any())


def flags(pattern: Sequence[bool]) -> str:
    """Return ``"T T F"`` for periodic along the first two lattice vectors."""
    return " ".join("FT"[bool(flag)] for flag in pattern)


def _entries(model: "FLTModel", name: str) -> list[Any]:
    return [e for s in model.statistics.values() for e in s.get(name, [])]
