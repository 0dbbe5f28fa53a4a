import signal
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import DoublePrecision, Precision
from torch import nn

import molflt
from molflt.training.callbacks import EMA, StopBetweenBatches
from tests.training.clusters import Clusters


class Holder(pl.LightningModule):
    """A parameter and a buffer."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.register_buffer("species", torch.tensor([5]))


class Clock:
    """Just enough of a trainer."""

    global_step = 0
    precision_plugin = Precision()


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_average_follows_the_formula(decay):
    module, clock, callback = Holder(), Clock(), EMA(decay)
    callback.setup(clock, module, "fit")
    expected = None
    for step in range(30):
        module.weight.data += torch.tensor([1.0, -2.0, 0.5])
        clock.global_step = step + 1
        callback.on_train_batch_end(clock, module, None, None, step)
        rate = min(decay, (1 + step) / (10 + step))
        current = module.weight.detach()
        expected = (
            current.clone() if step == 0 else rate * expected + (1 - rate) * current
        )
    average = callback._average_model.module
    torch.testing.assert_close(average.weight, expected, rtol=1e-6, atol=1e-6)
    assert average.species == 5  # an average of integers would be cut to 4


def test_average_has_the_precision_of_the_training():
    module, clock, callback = Holder(), Clock(), EMA(0.9)
    clock.precision_plugin = DoublePrecision()
    callback.setup(clock, module, "fit")
    module.double()  # what the trainer does after the callbacks
    module.weight.data += 1e-9
    clock.global_step = 1
    callback.on_train_batch_end(clock, module, None, None, 0)
    callback.on_train_end(clock, module)
    assert module.weight.dtype == torch.float64
    assert (module.weight == 1e-9).all()
    assert module.species == 5


def test_interrupted_validation_puts_the_trained_weights_back():
    module, clock, callback = Holder(), Clock(), EMA(0.9)
    callback.setup(clock, module, "fit")
    trained = torch.tensor([1.0, 2.0, 3.0])
    module.weight.data.copy_(trained)
    callback.on_validation_epoch_start(clock, module)
    assert not torch.equal(module.weight, trained)
    callback.on_exception(clock, module, KeyboardInterrupt())
    assert torch.equal(module.weight, trained)
    callback.on_exception(clock, module, KeyboardInterrupt())
    assert torch.equal(module.weight, trained)


def test_the_average_is_where_the_weights_are():
    module, clock, callback = Holder(), Clock(), EMA(0.9)
    callback.setup(clock, module, "fit")
    callback.on_fit_start(clock, module.to("meta"))
    average = callback._average_model
    assert all(p.device.type == "meta" for p in average.parameters())
    assert average.n_averaged.device.type == "cpu"


def test_a_state_saved_within_a_validation_has_each_in_its_place():
    module, clock, callback = Holder(), Clock(), EMA(0.9)
    callback.setup(clock, module, "fit")
    module.weight.data += 1.0  # the average stays at 0
    callback.on_validation_epoch_start(clock, module)
    checkpoint = {"state_dict": module.state_dict()}
    callback.on_save_checkpoint(clock, module, checkpoint)
    assert (checkpoint["state_dict"]["weight"] == 0).all()
    assert (checkpoint["current_model_state"]["weight"] == 1).all()


def test_another_training_begins_another_average():
    module, clock, callback = Holder(), Clock(), EMA(0.9)
    for value in (1.0, 2.0):
        callback.setup(clock, module, "fit")
        module.weight.data.fill_(value)
        step = SimpleNamespace(global_step=1)
        callback.on_train_batch_end(step, module, None, None, 0)
        assert (callback._average_model.module.weight == value).all()


def test_what_is_evaluated_after_a_training_has_the_weights_of_its_checkpoint(
    make_task, make_trainer, tmp_path
):
    task, trainer, data = make_task(), make_trainer(), Clusters()
    trainer.fit(task, data)
    path = tmp_path / "a" / "last.ckpt"
    saved = molflt.load(path).state_dict()
    for evaluate in (trainer.test, trainer.validate):
        evaluate(task, data, ckpt_path=path, verbose=False)
        found = task.model.state_dict()
        assert all(torch.equal(value, saved[name]) for name, value in found.items())


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_decay_is_checked(decay):
    with pytest.raises(ValueError, match="must be in"):
        EMA(decay)


def test_first_signal_waits_for_the_batch_and_the_second_does_not():
    before = signal.getsignal(signal.SIGINT)
    callback = StopBetweenBatches()
    callback.on_fit_start(None, None)
    trainer = SimpleNamespace(
        is_last_batch=False, val_check_batch=5, check_val_every_n_epoch=1, world_size=1
    )
    callback.on_train_batch_end(trainer, None, None, None, 0)
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        callback.on_train_batch_end(trainer, None, None, None, 1)
    # Validation is due: it comes first.
    signal.raise_signal(signal.SIGINT)
    callback.on_train_batch_end(trainer, None, None, None, 4)
    callback.on_validation_batch_end()
    with pytest.raises(KeyboardInterrupt):
        callback.on_train_batch_start(trainer, None, None, 0)
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    callback.teardown(None, None, "fit")
    assert signal.getsignal(signal.SIGINT) is before


def test_processes_stop_at_the_same_batch_if_one_is_asked():
    asked = []

    class Strategy:
        @staticmethod
        def reduce_boolean_decision(decision, all):
            asked.append(decision)
            return decision or len(asked) == 2  # the other one hears of it

    trainer = SimpleNamespace(
        **{"is_last_batch": False, "val_check_batch": 5, "check_val_every_n_epoch": 1},
        **{"world_size": 2, "strategy": Strategy()},
    )
    callback = StopBetweenBatches(every=3)
    callback._requested = True  # by Ctrl-C; this process does not stop on its own
    callback.on_train_batch_end(trainer, None, None, None, 0)
    callback._requested = False
    callback.on_train_batch_end(trainer, None, None, None, 2)
    callback.on_train_batch_end(trainer, None, None, None, 4)  # validation is due
    assert asked == [False]
    with pytest.raises(KeyboardInterrupt):
        callback.on_train_batch_start(trainer, None, None, 5)
    assert asked == [False, False]


def test_ctrl_c_while_the_other_processes_are_asked_is_not_forgotten():
    class Strategy:
        @staticmethod
        def reduce_boolean_decision(decision, all):
            if not decision:
                signal.raise_signal(signal.SIGINT)
            return decision  # the sum was made before

    trainer = SimpleNamespace(world_size=2, strategy=Strategy())
    callback = StopBetweenBatches()
    callback.on_fit_start(None, None)
    try:
        callback._stop_if_requested(trainer)
        with pytest.raises(KeyboardInterrupt):
            callback._stop_if_requested(trainer)
    finally:
        callback.teardown(None, None, "fit")
