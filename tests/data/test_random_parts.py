import ase.io
import numpy as np
import pytest
from ase.build import molecule

from molflt.data import AtomsFiles
from molflt.data.convert import convert
from molflt.data.labels.rules import LabelRules
from molflt.data.random_parts import random_parts
from molflt.errors import InputError, UsageError


def test_single_structures_are_a_permutation_that_is_cut():
    order = np.random.default_rng(3).permutation(20)
    parts = random_parts(np.arange(20), {"test": 0.25, "val": 0.1}, 3)
    assert np.array_equal(parts["test"], np.sort(order[:5]))
    assert np.array_equal(parts["val"], np.sort(order[5:7]))
    assert np.array_equal(parts["train"], np.sort(order[7:]))


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_in_one_part(seed):
    groups = np.random.default_rng(seed).integers(0, 30, 200).astype(str)
    parts = random_parts(groups, {"test": 0.2, "val": 0.1}, seed)
    assert np.array_equal(np.sort(np.concatenate([*parts.values()])), np.arange(200))
    seen = [set(groups[indices]) for indices in parts.values()]
    assert sum(map(len, seen)) == len(set(groups))
    largest = np.unique(groups, return_counts=True)[1].max()
    assert 40 <= len(parts["test"]) < 40 + largest
    assert 20 <= len(parts["val"]) < 20 + largest
    alone = random_parts(groups, {"test": 0.2}, seed)
    assert np.array_equal(alone["test"], parts["test"])


@pytest.mark.parametrize("groups", [["a"], ["a"] * 5, ["a", "a", "b"]])
def test_something_has_to_be_left_to_train_on(groups):
    with pytest.raises(InputError, match="too few to train on"):
        random_parts(groups, {"test": 0.1, "val": 0.1}, 0)


def test_groups_are_not_split_and_leave_no_trace(tmp_path):
    path = tmp_path / "a.extxyz"
    frames = [molecule("H2O") for _ in range(12)]
    for index, atoms in enumerate(frames):
        atoms.info |= {"energy_dft": float(index), "mol": f"m{index // 3}"}
    ase.io.write(path, frames)
    keys = {"energy_key": "energy_dft", "test_fraction": 0.2}
    data = AtomsFiles(path, **keys, group_key="mol")
    data.setup()
    sets = data.train, data.val["val"], data.test["test"]
    found = [sorted({int(graph.energy) // 3 for graph in part}) for part in sets]
    assert [len(groups) for groups in found] == [2, 1, 1]
    assert sorted(np.concatenate(found)) == [0, 1, 2, 3]
    plain = AtomsFiles(path, **keys)
    plain.setup()
    for part in sets:
        assert {*part[0].keys()} == {*plain.train[0].keys()}
    missing = AtomsFiles(path, **keys, group_key="molecule")
    with pytest.raises(InputError, match="a.extxyz, frame 0: no 'molecule'"):
        missing.setup()
    (tmp_path / "b.extxyz").write_bytes(path.read_bytes())
    with pytest.raises(UsageError, match="group_key has no meaning"):
        AtomsFiles(path, val=tmp_path / "b.extxyz", group_key="mol")
    convert([path], tmp_path / "a.lmdb", LabelRules(energy_key="energy_dft"))
    with pytest.raises(UsageError, match="a.lmdb has no groups"):
        AtomsFiles(tmp_path / "a.lmdb", group_key="mol")
