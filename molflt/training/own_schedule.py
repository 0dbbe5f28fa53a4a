"""Schedules of torch.optim.lr_scheduler, and when a training updates them."""

from typing import Any, Literal

from pytorch_lightning import Trainer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau

from molflt.errors import UsageError
from molflt.training.schedules import steps_of

Interval = Literal["epoch", "step"]


def plan_of(
    schedule: LRScheduler, interval: Interval, trainer: Trainer, monitor: str | None
) -> dict[str, Any]:
    """Return how Lightning is to update a schedule.

    Args:
        schedule: The schedule.
        interval: How often: after each epoch or each step.
        trainer: The trainer, which knows how many there are.
        monitor: Error that ReduceLROnPlateau watches, after each validation; None:
            there is none.

    Raises:
        UsageError: A schedule that ends before the training, or one that watches
            validations of which there are none, or not with every update.
    """
    plan = {"scheduler": schedule, "interval": interval}
    if isinstance(schedule, OneCycleLR):
        _refuse_short(schedule, interval, trainer)
    if not isinstance(schedule, ReduceLROnPlateau):
        return plan
    if interval == "step":
        raise UsageError(
            "ReduceLROnPlateau watches an error of validation: model.schedule_interval "
            "must be epoch."
        )
    if monitor is None or not trainer.enable_validation:
        raise UsageError(
            "model.schedule is ReduceLROnPlateau, which watches an error of "
            "validation, and there is no validation."
        )
    monitor = getattr(schedule, "monitor", monitor)  # Lightning's class has its own
    # Not strict: an epoch that ends before the first validation shows no error.
    every = trainer.check_val_every_n_epoch or 1
    return plan | {"monitor": monitor, "strict": False, "frequency": every}


def _refuse_short(schedule: OneCycleLR, interval: Interval, trainer: Trainer) -> None:
    """Refuse a cycle that is over before the training: its next update would fail."""
    updates, epochs = steps_of(trainer), trainer.max_epochs
    if interval == "epoch" and epochs is not None and epochs >= 0:
        updates = min(updates, epochs)
    if updates > schedule.total_steps:
        raise UsageError(
            f"model.schedule is a OneCycleLR of {schedule.total_steps} updates, and "
            f"the training has {updates} (model.schedule_interval {interval}); give "
            f"total_steps {updates}."
        )
