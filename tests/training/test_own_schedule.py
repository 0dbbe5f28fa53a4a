"""Schedules of torch.optim.lr_scheduler in trainings of any length and validation."""

import pytest
from pytorch_lightning.cli import ReduceLROnPlateau as LightningPlateau
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from molflt.errors import UsageError
from tests.training.clusters import Clusters


def standing(groups):
    """Nothing moves, so that every validation but the first is on a plateau."""
    return SGD(groups, lr=1e-300)


def watching(optimizer):
    return ReduceLROnPlateau(optimizer, patience=0, factor=0.5, threshold=0.0, eps=0.0)


def cycle(total):
    return lambda optimizer: OneCycleLR(optimizer, 1e-3, total_steps=total)


@pytest.mark.parametrize(
    ("options", "validations"),
    [
        ({"max_epochs": 6}, 6),
        ({"max_epochs": 6, "check_val_every_n_epoch": 2}, 3),
        ({"max_epochs": 3, "check_val_every_n_epoch": 4}, 0),
    ],
)
def test_a_plateau_counts_validations(options, validations, make_task, make_trainer):
    task = make_task(optimizer=standing, schedule=watching)
    trainer = make_trainer(limit_train_batches=1, **options)
    trainer.fit(task, datamodule=Clusters())
    schedule = trainer.lr_scheduler_configs[0].scheduler
    assert schedule.last_epoch == validations
    halvings = max(0, validations - 1)
    assert trainer.optimizers[0].param_groups[0]["lr"] == 1e-300 / 2**halvings


def test_a_plateau_of_lightning_watches_what_it_names(make_task, make_trainer):
    name = "val_far/energy/mae_eV"
    task = make_task(schedule=lambda optimizer: LightningPlateau(optimizer, name))
    trainer = make_trainer(max_epochs=2, limit_train_batches=1)
    trainer.fit(task, datamodule=Clusters())
    assert trainer.lr_scheduler_configs[0].monitor == name
    best = float(trainer.lr_scheduler_configs[0].scheduler.best)
    assert best <= float(trainer.callback_metrics[name])


@pytest.mark.parametrize(
    ("interval", "options", "words"),
    [
        ("step", {}, "schedule_interval must be epoch"),
        ("epoch", {"limit_val_batches": 0}, "and there is no validation"),
    ],
)
def test_a_plateau_of_nothing_is_refused(
    interval, options, words, make_task, make_trainer
):
    task = make_task(schedule=watching, schedule_interval=interval)
    with pytest.raises(UsageError, match=words):
        make_trainer(**options).fit(task, datamodule=Clusters())


@pytest.mark.filterwarnings("ignore:A `OneCycleLR`")  # once an epoch is unusual
@pytest.mark.parametrize(("interval", "updates"), [("step", 6), ("epoch", 2)])
def test_a_cycle_is_as_long_as_the_training(interval, updates, make_task, make_trainer):
    def fit(total):
        task = make_task(schedule=cycle(total), schedule_interval=interval)
        trainer = make_trainer(max_epochs=2, limit_train_batches=3)
        trainer.fit(task, datamodule=Clusters())
        return trainer.lr_scheduler_configs[0].scheduler

    assert fit(updates).last_epoch == updates
    with pytest.raises(
        UsageError, match=f"{updates - 1} updates.* total_steps {updates}"
    ):
        fit(updates - 1)
