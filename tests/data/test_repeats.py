import numpy as np
import pytest

from molflt.data import QM9
from molflt.data.repeats import repeat_rare
from molflt.errors import UsageError
from tests.data.qm9_files import upstream


def test_rare_kinds_come_to_their_share():
    kinds = np.repeat([9, 5, 2], [1000, 40, 3])
    indices = repeat_rare(kinds, 0.05)
    times = np.bincount(indices, minlength=len(kinds))
    assert (np.diff(indices) >= 0).all()
    for kind, count in ((9, 1000), (5, 40), (2, 3)):
        (each,) = set(times[kinds == kind].tolist())  # all of a kind alike
        least = 0.05 * len(kinds)
        assert each == 1 if count > least else least <= each * count < least + count


def test_nothing_is_repeated_without_a_share():
    kinds = np.array([1, 1, 1, 2])
    assert repeat_rare(kinds, 0.0).tolist() == [0, 1, 2, 3]
    assert repeat_rare(kinds[:0], 0.5).tolist() == []


def test_small_molecules_of_qm9_are_repeated_in_training_alone(tmp_path):
    root = upstream(tmp_path)  # two with one heavy atom, or more, of eleven
    sizes = {"split": "random:0", "num_train": 7, "num_val": 2}
    sets = {}
    for share in (0.0, 0.9):
        data = QM9(root, least_share=share, **sizes)
        data.setup()
        sets[share] = [
            [graph.sid for graph in part]
            for part in (data.train, data.val["val"], data.test["test"])
        ]
    assert sets[0.9][1:] == sets[0.0][1:]
    assert set(sets[0.9][0]) == set(sets[0.0][0])
    assert len(sets[0.9][0]) > len(sets[0.0][0]) == 7
    for share in (-0.1, 1.0):
        with pytest.raises(UsageError, match="least_share"):
            QM9(root, least_share=share)
