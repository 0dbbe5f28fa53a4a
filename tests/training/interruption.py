"""Runs that stop on the way, and their weights before and after."""

import pytorch_lightning as pl
import torch

from molflt.training.task import FLTTask


class Stop(pl.Callback):
    """An interruption after a number of steps."""

    def __init__(self, step: int, at_validation: bool = False):
        self.step, self.at_validation = step, at_validation

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == self.step and not self.at_validation:
            raise RuntimeError("stopped")

    def on_validation_batch_end(self, trainer, *args):
        if trainer.global_step == self.step and self.at_validation:
            raise RuntimeError("stopped")


def weights(task: FLTTask) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in task.state_dict().items()}


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
