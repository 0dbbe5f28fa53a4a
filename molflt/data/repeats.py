"""Rare kinds of structures, seen often enough to be learned."""

import numpy as np


def repeat_rare(kinds: np.ndarray, share: float) -> np.ndarray:
    """Return indices of all structures, those of rare kinds several times.

    A kind of n_k among n structures comes max(1, ceil(share n / n_k)) times, so that it
    makes about `share` of what n structures were.

    Args:
        kinds: Kind of each structure (n,), any integers.
        share: From 0 (nothing is repeated) to below 1.

    Returns:
        Indices (m,) int64 with m >= n, in order.
    """
    _, kind, counts = np.unique(kinds, return_inverse=True, return_counts=True)
    times = np.maximum(1, np.ceil(share * len(kinds) / counts)).astype(np.int64)
    return np.repeat(np.arange(len(kinds)), times[kind])
