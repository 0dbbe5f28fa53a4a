"""Seeded and published splits of QM9; indices can be stored and have a fingerprint.

==================== ==================================== ===========================
name                 permutation of the n molecules       train / val / test
==================== ==================================== ===========================
``dimenet``          ``RandomState(42).permutation(n)``   110,000 / 10,000 / rest
``torchmdnet``       ``default_rng(1).permutation(n)``    110,000 / 10,000 / rest
``cormorant``        ``RandomState(0).permutation(n)``    100,000 / 17,748 / 13,083
``random:<seed>``    ``default_rng(seed).permutation(n)`` as asked for
``<file>.npz``       stored by `save_split`               as stored
==================== ==================================== ===========================

The permuted numbers count the characterised molecules in file order, from 0; the three
published splits need all n = 130,831. Sources: PyG ``dimenet.py``; TorchMD-NET
``utils.py`` with seed 1 and Equiformer ``qm9.py``; Cormorant and EGNN
``prepare/qm9.py``.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from molflt.data.npz import read_npz
from molflt.errors import InputError, UsageError
from molflt.files import atomic_path

PUBLISHED_TOTAL = 130_831
"""Molecules of QM9 without the 3,054 uncharacterised ones."""

# For each name: training and validation molecules; the others are test molecules.
_PUBLISHED = {
    "dimenet": (110_000, 10_000),
    "torchmdnet": (110_000, 10_000),
    "cormorant": (100_000, 17_748),
}


@dataclass(frozen=True)
class Split:
    """Indices (int64) of the training, validation and test records, out of `total`."""

    name: str
    total: int
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray

    @property
    def digest(self) -> str:
        """SHA-256 of the three index lists: equal digests are equal splits."""
        digest = hashlib.sha256()
        for part in (self.train, self.val, self.test):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part.astype("<i8").tobytes())
        return digest.hexdigest()


def make_split(
    name: str,
    total: int,
    num_train: int | None = None,
    num_val: int | None = None,
    num_test: int | None = None,
) -> Split:
    """Make a split by name.

    Args:
        name: A name of the module's table, or the path of a stored split.
        total: Number of records.
        num_train: Training records, the first of the permutation. None: all of a
            published split; for ``random``, 110,000 where there are more than 120,000
            records and 80 % otherwise.
        num_val: Validation records; None: all, or 10,000, or 10 %.
        num_test: Test records, taken from the *end* of the permutation, so that they
            stay the same while `num_train` grows; None: all that are left.

    Raises:
        UsageError: Unknown name, a count that is negative or exceeds what there is, or
            no training records.
        InputError: A published split of a data set of another size, or a stored split
            that cannot be read.
    """
    if name.endswith(".npz"):
        split = load_split(name, total)
    elif name in _PUBLISHED:
        split = _published(name, total)
    else:
        return _random(name, total, num_train, num_val, num_test)
    parts = {"train": num_train, "val": num_val, "test": num_test}
    for part, count in parts.items():
        _check_count(f"num_{part}", count, len(getattr(split, part)), f"split {name}")
    test = split.test if num_test is None else split.test[len(split.test) - num_test :]
    return Split(name, total, split.train[:num_train], split.val[:num_val], test)


def save_split(split: Split, path: str | Path) -> None:
    """Store a split as .npz (arrays ``train``, ``val``, ``test`` and ``total``).

    Raises:
        InputError: The file cannot be written.
    """
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(
            file,
            train=split.train,
            val=split.val,
            test=split.test,
            total=np.int64(split.total),
        )


def load_split(path: str | Path, total: int) -> Split:
    """Read what `save_split` wrote, for a data set of `total` records.

    Raises:
        InputError: The file cannot be read, belongs to a data set of another size, or
            names a record twice or one that is not there.
    """
    names = ("train", "val", "test", "total")
    *lists, size = read_npz(path, names, "a stored split")
    whole = [np.issubdtype(array.dtype, np.integer) for array in (*lists, size)]
    if not all(whole) or size.size != 1 or any(array.ndim != 1 for array in lists):
        raise InputError(f"{path} is not a stored split (its arrays hold no indices).")
    parts = [array.astype(np.int64) for array in lists]
    stored = int(size.item())
    if stored != total:
        raise InputError(
            f"{path} splits a data set of {stored:,} records, this one has {total:,}."
        )
    everything = np.concatenate(parts)
    outside = everything.size and (everything.min() < 0 or everything.max() >= total)
    if outside or len(np.unique(everything)) != len(everything):
        raise InputError(f"{path} names a record twice or one that does not exist.")
    return Split(str(path), total, *parts)


def _published(name: str, total: int) -> Split:
    if total != PUBLISHED_TOTAL:
        raise InputError(
            f"The split {name!r} is defined for the {PUBLISHED_TOTAL:,} characterised "
            f"molecules of QM9 and this data set has {total:,}; use random:<seed>."
        )
    if name == "torchmdnet":
        order = np.random.default_rng(1).permutation(total)
    else:
        # These codes drew from numpy's old generator; only it gives their split.
        seed = {"dimenet": 42, "cormorant": 0}[name]
        order = np.random.RandomState(seed).permutation(total)
    train, val = _PUBLISHED[name]
    return Split(
        name, total, order[:train], order[train : train + val], order[train + val :]
    )


def _random(
    name: str,
    total: int,
    num_train: int | None,
    num_val: int | None,
    num_test: int | None,
) -> Split:
    kind, _, seed = name.partition(":")
    if kind != "random" or not seed.isdecimal():
        raise UsageError(
            f"Unknown split {name!r}: it must be random:<seed>, a stored .npz, or one "
            f"of {', '.join(_PUBLISHED)}."
        )
    large = total > 120_000
    if num_train is None:
        num_train = 110_000 if large else total * 8 // 10
    if num_val is None:
        num_val = 10_000 if large else total // 10
    for option, count in (("num_train", num_train), ("num_val", num_val)):
        _check_count(option, count, total, "the data set")
    left = total - num_train - num_val
    if left < (num_test or 0):
        asked = f"num_train {num_train:,} and num_val {num_val:,}"
        if num_test:
            asked += f" and num_test {num_test:,}"
        raise UsageError(f"{asked} are more than the {total:,} records there are.")
    _check_count("num_test", num_test, total, "the data set")
    order = np.random.default_rng(int(seed)).permutation(total)
    return Split(
        name,
        total,
        order[:num_train],
        order[num_train : num_train + num_val],
        order[total - (left if num_test is None else num_test) :],
    )


def _check_count(option: str, count: int | None, most: int, where: str) -> None:
    least = 1 if option == "num_train" else 0
    if count is not None and not least <= count <= most:
        raise UsageError(
            f"{option} must be from {least} to {most:,} ({where}), received {count:,}."
        )
