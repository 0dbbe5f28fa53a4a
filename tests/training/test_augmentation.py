"""Other starts of training structures."""

import pytest
import torch
from scipy.stats import kstest
from torch_geometric.data import Batch

from molflt.errors import InputError, UsageError
from molflt.targets import TargetSpec
from molflt.training.augmentation import PositionAugmentation
from tests.training.boxes import BOXES, boxed
from tests.training.clusters import Clusters, cluster
from tests.training.interruption import Stop, same, weights


class Relaxing(Clusters):
    """Clusters whose labels are energies after relaxation."""

    @property
    def targets(self):
        return (TargetSpec("energy", kind="relaxed"),)


def clusters(count):
    batch = Batch.from_data_list([cluster(seed) for seed in range(count)])
    batch.fixed = torch.arange(len(batch.z)) % 3 == 0
    return batch


@pytest.mark.parametrize(("progress", "size"), [(0.0, 0.2), (0.5, 0.1), (1.0, 0.0)])
def test_noise_has_its_size_and_spares_held_atoms(progress, size):
    batch = clusters(300)
    augment = PositionAugmentation(noise=0.2)
    noisy = augment(batch, (0, 7), progress)
    shift = noisy.pos - batch.pos
    assert shift[batch.fixed].abs().max() == 0
    free = shift[~batch.fixed]
    assert float(free.std()) == pytest.approx(size, rel=0.05)
    assert float(free.mean()) == pytest.approx(0.0, abs=0.02)
    assert torch.equal(noisy.energy, batch.energy)


def test_the_same_seed_moves_the_same():
    batch = clusters(5)
    augment = PositionAugmentation(0.2, 1.0)
    first, again, other = (augment(batch, (0, k), 0.1).pos for k in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert PositionAugmentation()(batch, (0, 7), 0.1) is batch


def parts(batch, moved):
    """How far each structure is on its way (g,), which all its free atoms agree on."""
    way = (batch.pos_relaxed - batch.pos)[~batch.fixed]
    shift = (moved.pos - batch.pos)[~batch.fixed]
    part = (shift * way).sum(1) / way.square().sum(1)
    torch.testing.assert_close(shift, part.unsqueeze(1) * way, rtol=1e-9, atol=1e-12)
    index = batch.batch[~batch.fixed]
    low, high = (
        torch.full((batch.num_graphs,), start)
        .double()
        .scatter_reduce(0, index, part, how)
        for start, how in ((2.0, "amin"), (-1.0, "amax"))
    )
    seen = index.unique()
    torch.testing.assert_close(low[seen], high[seen], rtol=1e-9, atol=1e-9)
    return low[seen]


@pytest.mark.parametrize(("progress", "share"), [(0.0, 0.8), (0.5, 0.4), (1.0, 0.0)])
def test_structures_lie_anywhere_on_their_way_to_the_relaxed_ones(progress, share):
    batch = clusters(600)
    moved = PositionAugmentation(interpolation=0.8)(batch, (0, 3), progress)
    assert torch.equal(moved.pos[batch.fixed], batch.pos[batch.fixed])
    part = parts(batch, moved)
    inside = part[part > 1e-12].numpy()
    assert len(inside) / len(part) == pytest.approx(share, abs=0.06)
    if share:
        assert kstest(inside, "uniform").pvalue > 0.01
    # What remains of the way is what the auxiliary task asks for.
    assert torch.equal(moved.pos_relaxed, batch.pos_relaxed)
    assert torch.equal(moved.energy, batch.energy)


@pytest.mark.parametrize("box", BOXES)
def test_the_way_is_the_shortest_through_the_faces_of_a_cell(box):
    graph = boxed(box)
    wrapped = graph.clone()
    steps = torch.tensor([[0, 0, 0], [1, 0, 0], [0, -1, 0], [2, 1, 0], [-1, 1, 0]])
    wrapped.pos_relaxed = graph.pos_relaxed + steps.double() * graph.pbc @ graph.cell[0]
    augment = PositionAugmentation(interpolation=1.0)
    found = [
        augment(Batch.from_data_list([each]), (1, 1), 0.0).pos
        for each in (graph, wrapped)
    ]
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)
    assert (found[0] - graph.pos).abs().max() > 1e-3


class Watch:
    """Positions the objective was given in training and in evaluation."""

    def __init__(self, task):
        self.train, self.eval = [], []
        task.objective.register_forward_pre_hook(self._note)

    def _note(self, module, arguments):
        _, batch, *progress = arguments
        places = self.train if progress else self.eval
        places.append((batch.sid, batch.pos.clone()))


@pytest.mark.parametrize("option", ["position_noise", "position_interpolation"])
def test_moves_in_training_alone_and_the_same_after_resuming(
    option, make_task, make_trainer, tmp_path
):
    data, options = Relaxing(), {option: 0.9}
    data.setup()
    whole = make_task(**options)
    seen = Watch(whole)
    make_trainer(folder="whole").fit(whole, datamodule=data)
    clean = {g.sid: g.pos for g in (*data.train, *data.val["val_near"])}
    moves = [
        (pos - torch.cat([clean[sid] for sid in ids])).abs().max()
        for ids, pos in seen.train
    ]
    assert all(move > 1e-4 for move in moves[: len(moves) // 3])
    assert len({float(move) for move in moves if move}) > len(moves) // 2
    assert moves[-1] < max(moves) / 2  # it falls
    for ids, pos in seen.eval[:1]:
        assert torch.equal(pos, torch.cat([clean[sid] for sid in ids]))
    with pytest.raises(RuntimeError, match="stopped"):
        make_trainer(Stop(13)).fit(make_task(**options), datamodule=Relaxing())
    resumed, path = make_task(**options), tmp_path / "a" / "last.ckpt"
    resumed.resume_from(path)
    make_trainer(folder="b").fit(resumed, datamodule=Relaxing(), ckpt_path=path)
    assert same(weights(resumed), weights(whole))


def test_members_of_an_ensemble_are_moved_otherwise(make_task, make_trainer):
    def moved(run_seed):
        data, task = Relaxing(), make_task(position_noise=0.1)
        data.setup()
        data.run_seed = run_seed
        seen = Watch(task)
        make_trainer(max_steps=1).fit(task, datamodule=data)
        ids, pos = seen.train[0]
        clean = {graph.sid: graph.pos for graph in data.train}
        return pos - torch.cat([clean[sid] for sid in ids])

    first, same_one, other = moved(0), moved(0), moved(1)
    assert torch.equal(first, same_one)
    count = min(len(first), len(other))
    assert (first[:count] - other[:count]).abs().max() > 0.01


@pytest.mark.parametrize("option", ["position_noise", "position_interpolation"])
def test_moves_and_forces_contradict_each_other(option, make_task):
    with pytest.raises(UsageError, match=f"{option}.* moves? atoms away"):
        make_task(force_weight=1.0, **{option: 0.1})


def test_options_out_of_range(make_task):
    with pytest.raises(UsageError, match="position_noise must not be negative"):
        make_task(position_noise=-0.1)
    for value in (-0.1, 1.1):
        with pytest.raises(UsageError, match=r"must lie in \[0, 1\]"):
            make_task(position_interpolation=value)


def test_interpolation_is_for_energies_after_relaxation(make_task, make_trainer):
    task = make_task(position_interpolation=0.5)
    with pytest.raises(UsageError, match="'energy' is of the kind potential"):
        make_trainer().fit(task, datamodule=Clusters())
    make_trainer(max_epochs=1).fit(plain := make_task(), datamodule=Clusters())
    resumed = make_task(position_interpolation=0.5)
    resumed.model = plain.model
    with pytest.raises(UsageError, match="'energy' is of the kind potential"):
        make_trainer(folder="b").fit(resumed, datamodule=Clusters())


def test_interpolation_needs_relaxed_positions(make_task, make_trainer):
    class Unrelaxed(Relaxing):
        def load_splits(self):
            train, val, test = super().load_splits()
            del train[3].pos_relaxed
            return train, val, test

    alone = {"position_interpolation": 0.5}
    for options in (alone, alone | {"displacement_weight": 1.0}):
        names = " and ".join(f"model.{name}" for name in sorted(options))
        with pytest.raises(InputError, match=rf"c3 .*'pos_relaxed'.* for {names} \("):
            make_trainer().fit(make_task(**options), datamodule=Unrelaxed())
