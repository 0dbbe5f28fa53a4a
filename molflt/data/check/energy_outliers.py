"""Energies that lie far from what the other structures of a file suggest."""

from collections import defaultdict

import numpy as np
from torch import Tensor

_FEWEST = 20  # structures to build a suspicion on
_PER_NUMBER = 5  # structures for each number of the fit
_FAR = 25.0  # robust standard deviations
_LEAST = 1.0  # eV; closer is no mistake of a file
_ROUNDS = 40
_CLOSE = 1e-3  # eV; closer values weigh no more


class EnergyOutliers:
    """Collects energies, compares them with a sum over elements.

    The fit y = sum_z c_z e_z + e_0 is of least absolute distances. They are measured in
    robust standard deviations, 1.4826 times the median distance.
    """

    def __init__(self) -> None:
        self._compositions: dict[tuple[tuple[int, int], ...], int] = {}
        self._which: list[int] = []
        self._energies: list[float] = []
        self._records: list[int] = []

    def add(self, record: int, z: Tensor, energy: float) -> None:
        """Take one more structure into account."""
        kinds, counts = z.unique(return_counts=True)
        key = tuple(zip(kinds.tolist(), counts.tolist(), strict=True))
        known = self._compositions
        self._which.append(known.setdefault(key, len(known)))
        self._energies.append(energy)
        self._records.append(record)

    def hint(self) -> str | None:
        """Return a suspicion about single energies, or None."""
        far = self._far()
        if far is None:
            return None
        distance, typical = far
        outside = np.abs(distance) > max(_FAR * typical, _LEAST)
        count = int(outside.sum())
        # Many are another kind of structure rather than mistakes.
        if not count or count > max(3, len(distance) // 100):
            return None
        worst = int(np.abs(distance).argmax())
        lie = "energy lies" if count == 1 else "energies lie"
        return (
            f"{count:,} {lie} far from a sum over elements that fits the others to "
            f"{typical:.2g} eV, such as record {self._records[worst]}, "
            f"{distance[worst]:+.4g} eV from it (not converged, or atoms too close?)"
        )

    def _far(self) -> tuple[np.ndarray, float] | None:
        """Return the distance of each energy from the fit, and the typical one."""
        energies = np.array(self._energies)
        columns: defaultdict[int, int] = defaultdict(lambda: len(columns))
        table = np.zeros((len(self._compositions), 120))
        for row, key in enumerate(self._compositions):
            for kind, count in key:
                table[row, columns[kind]] = count
        table = np.c_[table[:, : len(columns)], np.ones(len(table))]
        # A fit of as many numbers as there are structures leaves no distances.
        if len(energies) < max(_FEWEST, _PER_NUMBER * min(table.shape)):
            return None
        which = np.array(self._which)
        # Structures of one composition start from their median.
        order = np.argsort(which, kind="stable")
        groups = np.split(energies[order], np.flatnonzero(np.diff(which[order])) + 1)
        middle = np.array([np.median(group) for group in groups])
        weight = np.array([float(len(group)) for group in groups])
        fit = least_absolute(table, middle, weight)
        distance = energies - (table @ fit)[which]
        return distance, 1.4826 * float(np.median(np.abs(distance)))


def least_absolute(
    table: np.ndarray, values: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Return x of the least sum_i weight_i |values_i - (table x)_i|.

    By least squares whose weights are divided by the distances of the round before: a
    fit that single values, however wrong, do not bend.
    """
    scaled = weight
    fit = np.zeros(table.shape[1])
    for _ in range(_ROUNDS):
        root = np.sqrt(scaled)
        fit = np.linalg.lstsq(table * root[:, None], values * root, rcond=None)[0]
        distance = np.abs(values - table @ fit)
        scaled = weight / np.maximum(distance, _CLOSE)
    return fit
