import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, Dataset
from torch_geometric.data import Data

from molflt.data.batching import SizeBucketSampler
from molflt.data.datamodule import GraphDataModule
from molflt.data.dataset import CachedDataset, GraphList, GraphSubset
from molflt.data.molecule import make_graph
from molflt.errors import UsageError
from molflt.targets import TargetSpec


def graphs(count, seed=0):
    rng = np.random.default_rng(seed)
    return [
        make_graph([1] * n, rng.normal(size=(n, 3)), sid=str(i), targets={"energy": i})
        for i, n in enumerate(rng.integers(1, 30, count))
    ]


class Numbers(GraphDataModule):
    @property
    def targets(self):
        return (TargetSpec("energy"),)

    def load_splits(self):
        return (
            GraphList(graphs(101)),
            {"val_id": GraphList(graphs(7, 1)), "val_ood": GraphList(graphs(5, 2))},
            {"test": GraphList(graphs(3, 3))},
        )


def sids(loader):
    return [sid for batch in loader for sid in batch.sid]


def test_every_structure_comes_once_and_validation_in_order():
    data = Numbers(batch_size=8)
    data.setup("fit")
    assert sorted(sids(data.train_dataloader()), key=int) == [
        str(i) for i in range(101)
    ]
    assert data.val_names == ["val_id", "val_ood"]
    assert data.test_names == ["test"]
    for loader, count in zip(data.val_dataloader(), (7, 5), strict=True):
        assert sids(loader) == [str(i) for i in range(count)]
    assert [len(loader.dataset) for loader in data.predict_dataloader()] == [3]


def test_order_follows_seed_and_epoch():
    def order(seed, epoch, run_seed=0):
        data = Numbers(batch_size=8, seed=seed)
        data.run_seed = run_seed
        data.setup()
        loader = data.train_dataloader()
        loader.sampler.set_epoch(epoch)
        return sids(loader)

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)
    assert order(0, 0, 1) == order(0, 0, 1)
    assert order(0, 0) != order(0, 0, 1) != order(0, 0, 2)


def test_max_train_is_a_fixed_random_subset():
    def chosen(seed):
        data = Numbers(batch_size=8, max_train=20, seed=seed)
        data.setup()
        return {graph.sid for graph in data.train}

    assert len(chosen(0)) == 20
    assert chosen(0) == chosen(0) != chosen(1)


def test_setup_twice_changes_nothing():
    data = Numbers()
    data.setup("fit")
    train = data.train
    data.setup("test")
    assert data.train is train


@pytest.mark.parametrize(
    "option",
    [{"batch_size": 0}, {"max_train": 0}, {"num_workers": -1}, {"batch_size": 2.5}],
)
def test_senseless_numbers_are_bad_usage(option):
    with pytest.raises(UsageError, match=next(iter(option))):
        Numbers(**option)


@pytest.mark.parametrize("make", [float, np.int64])
def test_whole_numbers_may_be_of_another_type(make):
    options = {"batch_size": 4, "eval_batch_size": 3, "max_train": 9, "num_workers": 0}
    found = Numbers(**{name: make(value) for name, value in options.items()})
    found.setup()
    assert {name: getattr(found, name) for name in options} == options
    assert all(type(getattr(found, name)) is int for name in options)
    assert sum(len(batch.z) > 0 for batch in found.train_dataloader()) == 3


def test_batches_are_alike_in_size_yet_random():
    sizes = np.random.default_rng(0).integers(1, 200, 1000)
    sampler = SizeBucketSampler(sizes, batch_size=10, chunk=20)

    def batches(epoch):
        sampler.set_epoch(epoch)
        order = np.array(list(sampler))
        assert sorted(order) == list(range(1000))
        return order.reshape(-1, 10)

    spread = np.ptp(sizes[batches(0)], axis=1).mean()
    assert spread < 0.15 * np.ptp(sizes)
    means = sizes[batches(0)].mean(axis=1)
    assert abs(np.corrcoef(np.arange(100), means)[0, 1]) < 0.3
    together = [{frozenset(b) for b in batches(epoch).tolist()} for epoch in (0, 1)]
    assert len(together[0] & together[1]) < 5


def test_an_incomplete_batch_comes_last():
    sampler = SizeBucketSampler(np.arange(1, 24), batch_size=5, chunk=2)
    order = list(sampler)
    assert len(order) == 23
    for start in (0, 5, 10, 15):
        assert np.ptp(sorted(order[start : start + 5])) < 23


@pytest.mark.parametrize("count", [96, 101, 97, 3, 2])
@pytest.mark.parametrize("num_ranks", [1, 2, 3])
def test_processes_together_take_the_steps_of_one(count, num_ranks):
    """Every structure comes once an epoch; twice only if a process had none."""
    sizes = np.random.default_rng(0).integers(1, 200, count)
    size = 4

    def dealt(epoch, **options):
        samplers = [
            SizeBucketSampler(
                sizes, size, epoch=epoch, rank=r, num_ranks=num_ranks, **options
            )
            for r in range(num_ranks)
        ]
        orders = [list(sampler) for sampler in samplers]
        if not options:
            assert [len(sampler) for sampler in samplers] == [*map(len, orders)]
        batches = [list(BatchSampler(order, size, False)) for order in orders]
        # All processes take equally many steps.
        steps = list(zip(*batches, strict=True))
        return [sorted(i for batch in step for i in batch) for step in steps]

    for epoch in (0, 1):
        steps = dealt(epoch)
        seen = [index for step in steps for index in step]
        rest = count % (size * num_ranks)
        repeated = num_ranks - rest if 0 < rest < num_ranks else 0
        assert len(seen) == count + repeated
        assert sorted(set(seen)) == list(range(count))
        one = SizeBucketSampler(sizes, size * num_ranks, epoch=epoch)
        together = BatchSampler(one, size * num_ranks, False)
        assert [sorted(set(step)) for step in steps] == [*map(sorted, together)]
        # Resumed after two steps.
        assert dealt(epoch, skip=2 * size * num_ranks) == steps[2:]


def test_processes_have_about_the_same_work():
    sizes = np.random.default_rng(0).integers(1, 200, 1000)
    work = []
    for rank in range(2):
        order = list(SizeBucketSampler(sizes, 10, rank=rank, num_ranks=2))
        work.append(sizes[order].reshape(-1, 10).max(axis=1))
    assert np.abs(work[0] - work[1]).mean() < 0.05 * np.ptp(sizes)


def test_cached_graphs_are_read_once():
    class Counting(GraphList):
        reads = 0

        def __getitem__(self, index):
            self.reads += 1
            return super().__getitem__(index)

    source = Counting(graphs(6))
    cached = CachedDataset(source)
    cached.load()
    cached.load()
    assert [cached[i].sid for i in range(6)] == list("012345")
    assert source.reads == 6


def test_subset_keeps_order_and_sizes():
    source = GraphList(graphs(6))
    subset = GraphSubset(source, [4, 1])
    assert [subset[i].sid for i in range(len(subset))] == ["4", "1"]
    assert subset.num_atoms.tolist() == source.num_atoms[[4, 1]].tolist()


def test_workers_see_the_same_graphs():
    data = Numbers(batch_size=8, num_workers=1)
    data.setup()
    energies = torch.cat([batch.energy for batch in data.train_dataloader()])
    assert sorted(energies.tolist()) == [float(i) for i in range(101)]


def bare(count, seed=0):
    """Graphs of atomic numbers, positions and a label alone."""
    return [Data(z=g.z, pos=g.pos, energy=g.energy) for g in graphs(count, seed)]


class Numbered(Dataset):
    """A data set of torch."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def module_of(*splits):
    class Own(Numbers):
        def load_splits(self):
            return splits

    data = Own(batch_size=8)
    data.setup()
    return data


@pytest.mark.parametrize("kind", [list, tuple, Numbered, GraphList])
def test_splits_may_be_lists_or_sets_of_torch(kind):
    plain = graphs(20)
    data = module_of(kind(plain), {"val": kind(plain[:5])}, {})
    assert sorted(sids(data.train_dataloader()), key=int) == [*map(str, range(20))]
    assert data.train.num_atoms.tolist() == [len(graph.z) for graph in plain]
    assert all(found is given for found, given in zip(data.train, plain, strict=True))


@pytest.mark.parametrize("kind", [list, Numbered, GraphList])
def test_fields_that_graphs_lack_say_that_there_is_nothing(kind):
    plain, given = graphs(20), bare(20)
    data = module_of(kind(given), {}, {})
    for found, expected in zip(data.train, plain, strict=True):
        assert set(found.keys()) == set(expected.keys())
        for key, value in expected.to_dict().items():
            assert found[key] == value if key == "sid" else found[key].equal(value)
    assert set(given[0].keys()) == {"z", "pos", "energy"}  # and are left as they were


def test_graphs_without_an_id_get_one_each():
    """As `make_graph` makes them; metrics go by ids."""
    given = [make_graph([1], [[0.0, 0.0, i]], targets={"energy": i}) for i in range(5)]
    data = module_of(given, {"val": given}, {})
    assert [graph.sid for graph in data.val["val"]] == list("01234")
    assert {graph.sid for graph in given} == {""}  # and are left as they were


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        ((graphs(3), [graphs(3)], {}), "Own.load_splits has to return three things"),
        ((graphs(3), {}), "Own.load_splits has to return three things"),
        ((graphs(3), {"val": iter([])}, {}), "list_iterator as val, which is no list"),
        (([1, 2], {}, {}), "Item 0 of a split is int, no graph"),
        (([Data(z=torch.ones(1))], {}, {}), "Graph 0 of a split has no pos"),
        (
            ([*graphs(1), Data(z=torch.ones(1), pos=torch.ones(1, 3), cell=1)], {}, {}),
            "Graph 1 of a split has a cell and no pbc",
        ),
    ],
)
def test_what_is_no_split_is_refused(splits, words):
    with pytest.raises(ValueError, match=words):
        list(module_of(*splits).train)


def test_a_data_module_has_targets_and_splits():
    class Without(GraphDataModule):
        pass

    with pytest.raises(TypeError, match="abstract methods load_splits, targets"):
        Without()
