"""Random parts of a data set that validate and test; groups are kept whole."""

from collections.abc import Mapping, Sequence

import numpy as np

from molflt.errors import InputError


def random_parts(
    groups: Sequence[str] | np.ndarray, fractions: Mapping[str, float], seed: int
) -> dict[str, np.ndarray]:
    """Draw parts one after the other; a group is in one of them, or in none.

    With n structures a part of fraction f takes groups, in an order of the seed, until
    it has max(1, round(f n)) structures or more. What earlier parts are does not depend
    on later ones.

    Args:
        groups: Group of each structure (n,): equal ones are kept together.
        fractions: Fraction of the structures by name of the part.
        seed: Seed of the order.

    Returns:
        Indices of each part, and of the rest as ``train``, int64, ascending.

    Raises:
        InputError: Nothing is left for ``train``.
    """
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(sizes))
    ends = np.cumsum(sizes[order])
    place = np.empty_like(order)  # of each group in that order
    place[order] = np.arange(len(order))
    parts, start = {}, 0
    for name, fraction in fractions.items():
        before = ends[start - 1] if start else 0
        wanted = before + max(1, round(fraction * len(member)))
        stop = int(np.searchsorted(ends, wanted)) + 1
        if stop >= len(ends):
            few = "structures" if len(sizes) == len(member) else "groups of structures"
            raise InputError(
                f"{len(sizes)} {few} are too few to train on and to set some aside."
            )
        ranks = place[member]
        parts[name] = np.flatnonzero((ranks >= start) & (ranks < stop))
        start = stop
    return parts | {"train": np.flatnonzero(place[member] >= start)}
