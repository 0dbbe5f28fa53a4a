import time

import loop
import numpy as np
import pytest

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


def test_training_takes_its_steps_and_learns(model, data):
    begin = time.process_time()
    done = loop.train(model, data, loss, 1e-2, 40)
    spent = time.process_time() - begin
    assert 0 < done.cpu_seconds < spent
    assert done.molecules == 4 * 40
    assert done.epochs == done.molecules / 20
    assert done.warmup_steps == 2
    assert done.curve[-1][1] < 0.7 * done.curve[0][1]
    assert [step for step, _ in done.curve] == list(range(2, 41, 2))
    assert done.plain()["steps"] == 40


def test_learning_rate_warms_up_and_ends_near_zero(model, data, monkeypatch):
    rates = []
    take = loop.Stepper.step

    def watch(self, batch):
        rates.append(self.optimizer.param_groups[0]["lr"])
        return take(self, batch)

    monkeypatch.setattr(loop.Stepper, "step", watch)
    done = loop.train(model, data, loss, 1e-2, 100)
    assert done.warmup_steps == 5
    assert np.all(np.diff(rates[:5]) > 0)
    assert rates[0] < 0.21e-2
    assert max(rates) <= 1e-2
    assert np.all(np.diff(rates[5:]) < 0)
    assert rates[-1] < 1e-5


def test_every_epoch_has_every_structure_in_another_order(data):
    batches = loop.endless(data)
    epochs = [[sid for _ in range(5) for sid in next(batches).sid] for _ in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1])
    assert epochs[0] != epochs[1]
