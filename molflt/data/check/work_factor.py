"""By what factor energies differ from the work that should explain them."""

from collections.abc import Mapping, Sequence

import numpy as np
from torch_geometric.data import Data

_FEWEST = 5  # pairs of frames to build a suspicion on


def common_factor(
    ratios: Sequence[float], meanings: Mapping[float, str], unknown: str, spread: float
) -> tuple[float, str] | None:
    """Return the median of ratios and what it may mean; None: nothing is suspicious.

    It is suspicious if most of them agree on it, and it is not about 1.

    Args:
        ratios: Energy over work, of pairs of frames.
        meanings: What factors mean, in words.
        unknown: What any other means.
        spread: Relative difference of ratios that agree; half of it for a meaning.
    """
    middle = _agreed(ratios, spread)
    if middle is None or _is_near_one(middle, spread):
        return None
    for factor, meaning in meanings.items():
        if abs(middle / factor - 1) < spread / 2:
            return middle, meaning
    return middle, unknown


def is_one(ratios: Sequence[float], spread: float) -> bool:
    """Whether most ratios agree on about 1."""
    middle = _agreed(ratios, spread)
    return middle is not None and _is_near_one(middle, spread)


def _is_near_one(ratio: float, spread: float) -> bool:
    return 1 - spread < ratio < 1 / (1 - spread)


def _agreed(ratios: Sequence[float], spread: float) -> float | None:
    """Return the median, if there are enough and most are near it."""
    if len(ratios) < _FEWEST:
        return None
    middle = float(np.median(ratios))
    agree = np.abs(np.array(ratios) / middle - 1) < spread
    return middle if agree.mean() >= 0.7 else None


def are_same_atoms(first: Data, second: Data) -> bool:
    """Whether two frames have the same species in the same order."""
    same = first.z.shape == second.z.shape
    return same and not bool((first.z != second.z).any())
