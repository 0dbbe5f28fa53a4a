import numpy as np
import pytest

from molflt.data.qm9.splits import PUBLISHED_TOTAL, load_split, make_split, save_split
from molflt.errors import InputError, UsageError

PUBLISHED = {
    "dimenet": (110_000, 10_000, 10_831),
    "torchmdnet": (110_000, 10_000, 10_831),
    "cormorant": (100_000, 17_748, 13_083),
}


def parts(split):
    return np.concatenate([split.train, split.val, split.test])


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_split_has_the_published_counts_and_every_molecule_once(name):
    split = make_split(name, PUBLISHED_TOTAL)
    assert tuple(map(len, (split.train, split.val, split.test))) == PUBLISHED[name]
    assert np.array_equal(np.sort(parts(split)), np.arange(PUBLISHED_TOTAL))


def test_published_splits_follow_the_published_code():
    """The lines of PyG's dimenet.py, TorchMD-NET's utils.py, Cormorant's qm9.py."""
    total = PUBLISHED_TOTAL
    order = np.random.RandomState(seed=42).permutation(np.arange(total))
    split = make_split("dimenet", total)
    assert np.array_equal(split.train, order[:110_000])
    assert np.array_equal(split.test, order[120_000:])

    order = np.random.default_rng(1).permutation(np.arange(total, dtype=int))
    split = make_split("torchmdnet", total)
    assert np.array_equal(split.val, order[110_000:120_000])

    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    order = np.random.permutation(total)  # noqa: NPY002
    np.random.set_state(state)  # noqa: NPY002
    num_test = int(0.1 * total)
    train, val, test = np.split(order, [100_000, total - num_test])
    split = make_split("cormorant", total)
    assert np.array_equal(split.train, train)
    assert np.array_equal(split.val, val)
    assert np.array_equal(split.test, test)


def test_published_split_of_other_data_is_refused():
    with pytest.raises(InputError, match=r"130,831.*124,742.*random:<seed>"):
        make_split("dimenet", 124_742)


def test_random_split_is_disjoint_and_reproducible():
    split = make_split("random:3", 100, 50, 20)
    assert len(split.test) == 30
    assert np.array_equal(np.sort(parts(split)), np.arange(100))
    assert split.digest == make_split("random:3", 100, 50, 20).digest
    assert split.digest != make_split("random:4", 100, 50, 20).digest


def test_digest_sees_where_the_parts_end():
    one, other = make_split("random:0", 9, 5, 2), make_split("random:0", 9, 4, 3)
    assert np.array_equal(parts(one), parts(other))
    assert one.digest != other.digest


def test_test_set_stays_while_the_training_set_grows():
    small = make_split("random:0", 100, 10, 5, 20)
    large = make_split("random:0", 100, 60, 5, 20)
    assert np.array_equal(small.test, large.test)
    assert np.array_equal(small.train, large.train[:10])


def test_defaults():
    split = make_split("random:0", 130_831)
    assert (len(split.train), len(split.val), len(split.test)) == (
        110_000,
        10_000,
        10_831,
    )
    split = make_split("random:0", 50)
    assert (len(split.train), len(split.val), len(split.test)) == (40, 5, 5)


def test_part_of_a_published_split():
    whole = make_split("dimenet", PUBLISHED_TOTAL)
    part = make_split("dimenet", PUBLISHED_TOTAL, 1000, 0, 50)
    assert np.array_equal(part.train, whole.train[:1000])
    assert np.array_equal(part.test, whole.test[-50:])
    assert len(part.val) == 0


@pytest.mark.parametrize(
    ("name", "counts", "message"),
    [
        ("random:0", (60, 41, None), "more than the 100 records"),
        ("random:0", (60, 20, 21), "num_test 21 are more"),
        ("random:0", (101, 0, None), "num_train must be from 1 to 100"),
        ("random:0", (0, 0, None), "num_train must be from 1"),
        ("random:0", (5, -1, None), "num_val must be from 0"),
        ("random", (5, 5, None), "Unknown split 'random'"),
        ("random:x", (5, 5, None), "random:<seed>"),
        ("dimnet", (5, 5, None), "dimenet, torchmdnet, cormorant"),
    ],
)
def test_bad_usage_is_one_sentence(name, counts, message):
    with pytest.raises(UsageError, match=message):
        make_split(name, 100, *counts)


def test_more_than_a_published_split_has_is_refused():
    with pytest.raises(UsageError, match="num_val must be from 0 to 10,000"):
        make_split("dimenet", PUBLISHED_TOTAL, num_val=10_001)


def test_stored_split_is_the_split(tmp_path):
    split = make_split("random:7", 100, 50, 20)
    path = tmp_path / "split.npz"
    save_split(split, path)
    assert load_split(path, 100).digest == split.digest
    assert make_split(str(path), 100).digest == split.digest
    assert len(make_split(str(path), 100, num_train=3).train) == 3
    with pytest.raises(InputError, match=r"split.npz splits .* 100 records.* has 99"):
        load_split(path, 99)


@pytest.mark.parametrize(
    "arrays",
    [
        {"train": [0, 1], "val": [1], "test": [2], "total": 5},
        {"train": [0, 5], "val": [1], "test": [2], "total": 5},
        {"train": [0, -1], "val": [1], "test": [2], "total": 5},
        {"train": [0], "val": [1], "total": 5},
        {"train": [0.5], "val": [1], "test": [2], "total": 5},
        {"train": [[0]], "val": [1], "test": [2], "total": 5},
        {"train": np.array([{}], dtype=object), "val": [1], "test": [2], "total": 5},
    ],
)
def test_unusable_split_files(tmp_path, arrays):
    path = tmp_path / "split.npz"
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=r"split\.npz"):
        load_split(path, 5)


def test_split_file_that_is_no_npz(tmp_path):
    path = tmp_path / "split.npz"
    with pytest.raises(InputError, match="there is no such file"):
        load_split(path, 5)
    with open(path, "wb") as file:
        np.save(file, np.arange(5))
    with pytest.raises(InputError, match="not a stored split"):
        load_split(path, 5)
    path.write_text("0 1 2\n")
    with pytest.raises(InputError, match="not a stored split"):
        load_split(path, 5)


@pytest.mark.parametrize("keep", [10, 300, -30])
def test_split_file_cut_off(tmp_path, keep):
    path = tmp_path / "split.npz"
    save_split(make_split("random:0", 1000), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="not a stored split"):
        load_split(path, 1000)


def test_split_file_with_flipped_bytes(tmp_path):
    path = tmp_path / "split.npz"
    save_split(make_split("random:0", 1000), path)
    content = bytearray(path.read_bytes())
    content[200:220] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a stored split"):
        load_split(path, 1000)
