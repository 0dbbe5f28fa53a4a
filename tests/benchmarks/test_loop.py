import time

import loop
import numpy as np
import pytest
import torch

from molflt.data.statistics import fit_statistics
from molflt.model import FLTEncoder, FLTModel
from tests.training.clusters import Clusters


@pytest.fixture
def data():
    module = Clusters()
    module.setup()
    return module


@pytest.fixture
def model(data):
    encoder = FLTEncoder(width=16, num_layers=1, num_near_heads=2, num_far_heads=1)
    built = FLTModel(encoder, data.targets)
    built.set_statistics("energy", fit_statistics(data.train, data.targets[0]).plain())
    return built


def loss(model, batch):
    labels = model.normalise("energy", batch.energy, batch)
    return (model.normalised(batch)["energy"] - labels).abs().mean()


def test_training_ends_with_its_budget_and_learns(model, data):
    begin = time.process_time()
    done = loop.train(model, data, loss, 1e-2, 1.0)
    spent = time.process_time() - begin
    assert 1.0 <= done.cpu_seconds < 1.5
    assert done.cpu_seconds < spent
    assert done.molecules == pytest.approx(4 * done.steps, abs=0)
    assert done.epochs == done.molecules / 20
    assert 1 <= done.warmup_steps < done.steps
    assert done.curve[-1][1] < 0.7 * done.curve[0][1]
    plain = done.plain()
    assert plain["molecules_per_second"] > 0
    assert len(plain["loss_curve"]) <= 21


def test_trial_leaves_the_model_as_it_is(model, data):
    before = {name: p.clone() for name, p in model.state_dict().items()}
    assert loop.time_steps(model, data, loss, 1e-2) > 0
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_learning_rate_warms_up_and_follows_the_time(model, data, monkeypatch):
    rates = []
    take = loop.take_step

    def watch(model, optimizer, loss, batch):
        rates.append(optimizer.param_groups[0]["lr"])
        return take(model, optimizer, loss, batch)

    monkeypatch.setattr(loop, "time_steps", lambda *_: 0.01)
    monkeypatch.setattr(loop, "take_step", watch)
    done = loop.train(model, data, loss, 1e-2, 1.0)
    assert done.warmup_steps == 5
    assert np.all(np.diff(rates[:5]) > 0)
    assert rates[0] < 0.21e-2
    assert max(rates) <= 1e-2
    assert np.all(np.diff(rates[5:]) < 0)
    assert rates[-1] < 0.1e-2


def test_average_follows_the_weights():
    average, current = [torch.zeros(3)], [torch.ones(3)]
    loop.average_weights(average, current, torch.tensor(1))
    assert torch.allclose(average[0], torch.full((3,), 9 / 11))
    loop.average_weights(average, [torch.zeros(3)], torch.tensor(10**6))
    assert torch.allclose(average[0], torch.full((3,), loop.EMA_DECAY * 9 / 11))


def test_every_epoch_has_every_structure_in_another_order(data):
    batches = loop.endless(data)
    epochs = [[sid for _ in range(5) for sid in next(batches).sid] for _ in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1])
    assert epochs[0] != epochs[1]
