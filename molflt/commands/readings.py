"""What was read, and what of it the training set has not, counted and told."""

import sys
from collections import Counter

from molflt.domain import Domain, flags
from molflt.read_structures import Structure


class Readings:
    """Counts how structures were read; memory does not grow with their number.

    Args:
        domain: What the models were trained for.
    """

    def __init__(self, domain: Domain) -> None:
        self._domain = domain
        self._seen: Counter[tuple[str, bool, tuple[bool, ...]]] = Counter()
        self._larger = 0
        self._remarked: Counter[str] = Counter()

    def add(self, item: Structure) -> None:
        """Count a structure, as it was read."""
        bare = self._domain.lacks_tags(item.system["tags"])
        most = self._domain.most_atoms
        self._larger += most is not None and len(item.atoms) > most
        self._remarked.update(self._domain.own_remarks(item.system))
        self._seen[item.tags, bare, tuple(item.atoms.pbc.tolist())] += 1

    def report(self) -> None:
        """Print on stderr what was read, and warnings."""
        if sentence := self._domain.silence():
            say(f"warning: {sentence}")
        for (tags, bare, pbc), count in self._seen.items():
            tags += ", unlike all of the training set" if bare else ""
            unknown = self._domain.unknown_periodicity(pbc) is not None
            new = ", which the training set has not" if unknown else ""
            say(f"{count} structures: {tags}; pbc {flags(pbc)}{new}")
        if self._larger:
            most = self._domain.most_atoms
            say(f"{self._larger} of more than {most} atoms, the training set's most")
        for remark, count in self._remarked.items():
            say(f"warning: {count} structures have {remark}")


def say(sentence: str) -> None:
    """Print a sentence on stderr."""
    print(sentence, file=sys.stderr)
