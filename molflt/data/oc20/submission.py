"""The leaderboard file of OC20's IS2RE task: predictions for the four test splits."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from molflt.errors import InputError, UsageError
from molflt.files import atomic_path

SPLITS = {
    "id": "test_id",
    "ood_ads": "test_ood_ads",
    "ood_cat": "test_ood_cat",
    "ood_both": "test_ood_both",
}
"""Names of the splits in the leaderboard file, and in OC20's folders."""

COUNTS = {"id": 24_948, "ood_ads": 24_930, "ood_cat": 24_965, "ood_both": 24_985}
"""Systems of each split; the leaderboard takes no other number."""

Predictions = Mapping[str, tuple[Sequence[str], np.ndarray]]


def write_submission(
    path: str | Path, predictions: Predictions, counts: Mapping[str, int] | None = None
) -> None:
    """Write ids and energies of the four splits as the leaderboard reads them.

    The arrays are ``<split>_ids`` (text) and ``<split>_energy`` (float64): float16, as
    OCP's own script writes, is off by up to 0.004 eV where 0.02 eV counts as right.

    Args:
        path: File to write, ``.npz``.
        predictions: For each key of `SPLITS`: ids, and energies (len,) [eV].
        counts: Systems of each split; None: `COUNTS`.

    Raises:
        UsageError: `path` does not end in ``.npz``.
        InputError: A split is missing or unknown, has another number of systems, an id
            twice, or an energy that is not finite; the disk is full.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise UsageError(f"The file to write must end in .npz, not {path}.")
    counts = COUNTS if counts is None else counts
    arrays: dict[str, np.ndarray] = {}
    for split in predictions:
        if split not in SPLITS:
            raise InputError(f"Unknown split {split!r}; they are {', '.join(SPLITS)}.")
    for split, folder in SPLITS.items():
        if split not in predictions:
            raise InputError(f"Predictions for the split {folder} are missing.")
        ids, energies = predictions[split]
        arrays[f"{split}_ids"] = _ids(ids, counts[split], folder)
        arrays[f"{split}_energy"] = _energies(energies, ids, folder)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def _ids(ids: Sequence[str], count: int, split: str) -> np.ndarray:
    if len(ids) != count:
        raise InputError(f"{split} has {len(ids):,} predictions instead of {count:,}.")
    names = np.array([str(name) for name in ids])
    unique, times = np.unique(names, return_counts=True)
    if len(unique) < len(names):
        twice = unique[times > 1][0]
        raise InputError(f"{split} has the system {twice} more than once.")
    return names


def _energies(energies: np.ndarray, ids: Sequence[str], split: str) -> np.ndarray:
    values = np.asarray(energies, dtype=np.float64)
    if values.shape != (len(ids),):
        raise InputError(
            f"{split} has {len(ids):,} ids and energies of shape {values.shape}."
        )
    finite = np.isfinite(values)
    if not finite.all():
        worst = int(np.argmin(finite))
        raise InputError(
            f"{split}: the energy of system {ids[worst]} is {values[worst]}."
        )
    return values
