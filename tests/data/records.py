"""Structures of all kinds for files of records: open and periodic, with tags or not."""

from contextlib import contextmanager

import lmdb
import numpy as np

from molflt.data.lmdb.store import write_lmdb
from molflt.data.molecule import make_graph
from molflt.targets import TargetSpec

ENERGY = TargetSpec("energy", kind="relaxed", reference="isolated parts")


def random_graphs(count, seed=0, atoms=9):
    rng = np.random.default_rng(seed)
    for index in range(count):
        n = int(rng.integers(1, atoms))
        periodic = bool(index % 2)
        yield make_graph(
            rng.integers(1, 119, n),
            rng.normal(size=(n, 3)) * 10,
            cell=rng.normal(size=(3, 3)) + 9 * np.eye(3) if periodic else None,
            pbc=[True, True, False] if periodic else None,
            tags=rng.integers(0, 3, n) if periodic else None,
            fixed=rng.integers(0, 2, n) if periodic else None,
            sid=f"system-{index}" if periodic else None,
            targets={"energy": rng.normal() - 1e4},
            forces=rng.normal(size=(n, 3)),
            pos_relaxed=rng.normal(size=(n, 3)),
        )


def write_twenty(folder):
    """A file of twenty structures, and its path."""
    target = folder / "set.lmdb"
    write_lmdb(target, random_graphs(20), targets=[ENERGY], metadata={"licence": "CC0"})
    return target


@contextmanager
def opened(path):
    """A transaction that writes, past the package."""
    environment = lmdb.open(str(path), subdir=False, lock=False)
    with environment, environment.begin(write=True) as transaction:
        yield transaction
