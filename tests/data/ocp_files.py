"""Pickled records in the layout of OCP, for tests; PyG 1 by a double."""

import io
import pickle
from typing import ClassVar

import lmdb
import numpy as np
import torch
from torch_geometric.data import Data

from molflt.data.oc20.record import read_record


class Pyg1Data:
    """Pickles as PyG 1.x's Data did: fields in the instance, by NEWOBJ and BUILD."""


Pyg1Data.__module__ = "torch_geometric.data.data"
Pyg1Data.__qualname__ = Pyg1Data.__name__ = "Data"


class _Pyg1Pickler(pickle._Pickler):
    """Does not check that the class can be imported under its name: it cannot."""

    def save_global(self, obj, name=None):
        if obj is not Pyg1Data:
            return super().save_global(obj, name)
        self.save(obj.__module__)
        self.save(obj.__name__)
        self.write(pickle.STACK_GLOBAL)
        self.memoize(obj)

    dispatch: ClassVar = {**pickle._Pickler.dispatch, type: save_global}


def pyg1(fields):
    """The bytes of a PyG 1.x record."""
    data = Pyg1Data()
    empty = ("x", "edge_index", "edge_attr", "y", "normal", "face")
    data.__dict__.update(dict.fromkeys(empty), **fields)
    buffer = io.BytesIO()
    _Pyg1Pickler(buffer, 4).dump(data)
    return buffer.getvalue()


def pyg2(fields):
    """The bytes of a PyG 2 record."""
    return pickle.dumps(Data(**fields), protocol=4)


def slab_fields(seed=0, **changes):
    """Fields as OCP's preprocessing writes them: numbers are float32."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 9))
    height = np.sort(rng.random(n)) * 6
    pos = np.stack([np.arange(n) * 1.5 % 7, rng.random(n) * 7, height], axis=1)
    fields = {
        "pos": torch.tensor(pos, dtype=torch.float32),
        "cell": torch.diag(torch.tensor([7.0, 7.0, 20.0]))[None],
        "atomic_numbers": torch.tensor([29.0] * (n - 2) + [6.0, 8.0]),
        "natoms": n,
        "tags": torch.tensor([0] * (n - 3) + [1, 2, 2]),
        "fixed": torch.tensor([1.0] * (n - 3) + [0.0] * 3),
        "edge_index": torch.zeros((2, 5), dtype=torch.int64),
        "y_init": float(rng.normal() + 2),
        "y_relaxed": float(rng.normal()),
        "pos_relaxed": torch.tensor(pos + 0.1, dtype=torch.float32),
        "sid": 1000 + seed,
    } | changes
    return {name: value for name, value in fields.items() if value is not ...}


def write_ocp(path, records, *, length=True):
    """An LMDB of OCP: ASCII keys, one transaction a record, `length` or not."""
    environment = lmdb.open(str(path), subdir=False, lock=False, map_size=1 << 24)
    with environment:
        for index, record in enumerate(records):
            with environment.begin(write=True) as transaction:
                transaction.put(str(index).encode(), record)
        if length:
            with environment.begin(write=True) as transaction:
                transaction.put(b"length", pickle.dumps(len(records)))


FIELDS = ("pos", "cell", "atomic_numbers", "natoms", "tags", "fixed", "y_relaxed")


def read(record, fields=FIELDS):
    return read_record(record, fields, "train.lmdb, record 7")
