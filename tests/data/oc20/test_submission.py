import os

import numpy as np
import pytest

from molflt.data.oc20.submission import COUNTS, SPLITS, write_submission
from molflt.errors import InputError, UsageError

SMALL = dict(zip(SPLITS, (3, 4, 5, 6), strict=True))


def predictions(**changes):
    made = {
        split: ([f"{split}{i}" for i in range(n)], np.linspace(-2, 1, n) / 3)
        for split, n in SMALL.items()
    } | changes
    return {split: value for split, value in made.items() if value is not None}


def test_the_file_has_what_the_leaderboard_reads(tmp_path):
    path = tmp_path / "out.npz"
    write_submission(path, predictions(), SMALL)
    with np.load(path, allow_pickle=False) as stored:
        assert set(stored) == {
            *("id_ids", "id_energy", "ood_ads_ids", "ood_ads_energy"),
            *("ood_cat_ids", "ood_cat_energy", "ood_both_ids", "ood_both_energy"),
        }
        for split, (ids, energies) in predictions().items():
            assert stored[f"{split}_ids"].tolist() == ids
            assert stored[f"{split}_energy"].dtype == np.float64
            assert stored[f"{split}_energy"].tolist() == energies.tolist()


def test_the_counts_are_those_of_the_test_splits():
    assert list(COUNTS.values()) == [24_948, 24_930, 24_965, 24_985]
    with pytest.raises(InputError, match="test_id has 3 predictions instead of 24,948"):
        write_submission("out.npz", predictions())


IDS = ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ood_cat": None}, "split test_ood_cat are missing"),
        ({"val_id": (["a"], np.zeros(1))}, "Unknown split 'val_id'"),
        ({"ood_ads": (IDS[:3], np.zeros(3))}, "test_ood_ads has 3 predictions"),
        ({"ood_ads": (IDS, np.zeros(3))}, r"4 ids and energies of shape \(3,\)"),
        ({"ood_ads": (["a", "b", "a", "d"], np.zeros(4))}, "system a more than once"),
        ({"ood_ads": (IDS, np.array([0, 0, np.nan, 0]))}, "energy of system c is nan"),
        ({"ood_ads": (IDS, np.array([0, np.inf, 0, 0]))}, "energy of system b is inf"),
    ],
)
def test_what_the_leaderboard_would_refuse_is_not_written(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        write_submission(tmp_path / "out.npz", predictions(**change), SMALL)
    assert os.listdir(tmp_path) == []


def test_the_name_must_end_in_npz(tmp_path):
    with pytest.raises(UsageError, match=r"\.npz"):
        write_submission(tmp_path / "out.csv", predictions(), SMALL)
