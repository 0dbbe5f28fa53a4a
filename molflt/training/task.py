"""The training loop's view of a model: loss, metrics, optimiser."""

import logging
import math
from pathlib import Path
from typing import Any, Literal

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torch_geometric.data import Batch

from molflt.checkpoint import load, model_record
from molflt.data.datamodule import GraphDataModule
from molflt.data.statistics import fit_statistics
from molflt.errors import InputError, MolfltError, UsageError
from molflt.model import FLTEncoder, FLTModel
from molflt.training.losses import LossName, multi_target_loss
from molflt.training.metrics import AbsoluteErrors, unit_in_name
from molflt.training.optimizers import adamw
from molflt.training.schedules import constant_after_warmup, warmup_cosine

SCHEDULES = {"cosine": warmup_cosine, "constant": constant_after_warmup}

log = logging.getLogger(__name__)


class FLTTask(LightningModule):
    r"""Fit an `FLTModel` to the targets of a data module.

    The loss is taken on normalised targets (residuals after the atoms' references, in
    standard deviations of the training set); everything logged is in physical units:
    ``{split}/{target}/mae_{unit}`` and, for targets in eV,
    ``{split}/{target}/ewt_percent``, with the data module's names of splits.

    The model is built when training starts, from the data module's targets and the
    statistics of its training set.

    Args:
        encoder: Architecture; its weights are the starting point.
        targets: Names of the data module's targets to learn; None: all of them.
        loss: ``l1`` :math:`|e|`, ``mse`` :math:`e^2` or ``huber``.
        lr: Peak learning rate of AdamW.
        weight_decay: Decay of the weights of linear layers; nothing else decays.
        warmup_steps: Optimiser steps of linear rise; at most a third of the schedule.
        schedule: ``cosine``: half a cosine down to 0 at the last step (set
            ``trainer.max_epochs`` or ``trainer.max_steps``); ``constant``.
    """

    def __init__(
        self,
        encoder: FLTEncoder,
        targets: list[str] | None = None,
        loss: LossName = "l1",
        lr: float = 1e-3,
        weight_decay: float = 1e-2,
        warmup_steps: int = 200,
        schedule: Literal["cosine", "constant"] = "cosine",
    ) -> None:
        super().__init__()
        self.model: FLTModel | None = None
        # In a tuple, so that the encoder is registered once, as part of the model.
        self._encoder = (encoder,)
        self._target_names = targets
        self._loss: LossName = loss
        self._lr = lr
        self._weight_decay = weight_decay
        self._warmup_steps = warmup_steps
        self._schedule = SCHEDULES[schedule]
        self._metrics: dict[tuple[str, str], AbsoluteErrors] = {}

    def resume_from(self, path: str | Path) -> None:
        """Take the model of a checkpoint, which must be of this architecture.

        Its statistics are those of the interrupted run: training data are not read
        for them again. Weights, optimiser and position follow from
        ``trainer.fit(ckpt_path=path)``.

        Raises:
            InputError: Not a checkpoint, or one of another architecture.
        """
        model = load(path)
        ours, theirs = self._encoder[0].config, model.encoder.config
        if differing := [key for key in ours if ours[key] != theirs.get(key)]:
            listed = ", ".join(
                f"{key} {theirs.get(key)!r} instead of {ours[key]!r}"
                for key in differing
            )
            raise InputError(f"{path} cannot be resumed: its encoder has {listed}.")
        self.model = model.train()

    def configure_model(self) -> None:
        """Build the model, unless there is one already (resumed, or given).

        Raises:
            UsageError: Training was not run before evaluation, or a target is unknown.
        """
        if self.model is not None:
            return
        if not self.trainer.training:
            raise UsageError(
                "There is no trained model to evaluate; give a checkpoint."
            )
        data = self._data
        known = {spec.name: spec for spec in data.targets}
        names = self._target_names or list(known)
        if missing := [name for name in names if name not in known]:
            raise UsageError(
                f"Unknown target {', '.join(missing)} in model.targets; "
                f"this data set has {', '.join(known)}."
            )
        model = FLTModel(self._encoder[0], [known[name] for name in names])
        for spec in model.targets:
            statistics = fit_statistics(data.train, spec, progress=None)
            model.set_statistics(spec.name, statistics.plain())
            log.info(
                "%s: %d training structures, standard deviation around the sum of atom "
                "references %.4g %s.",
                spec.name,
                statistics.num_structures,
                statistics.std,
                spec.unit,
            )
        self.model = model

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW and the schedule, updated after every step."""
        optimizer = adamw(self, self._lr, self._weight_decay)
        total = self.trainer.estimated_stepping_batches
        if total == float("inf"):
            raise UsageError(
                "The schedule needs an end: trainer.max_epochs or trainer.max_steps."
            )
        scheduler = LambdaLR(
            optimizer,
            lambda step: self._schedule(step, self._warmup_steps, int(total)),
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def _step(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, and each target's errors (g,) float64 in its unit."""
        assert self.model is not None
        predictions = self.model.normalised(batch)
        labels = {name: _label(batch, name) for name in predictions}
        normalised = {
            name: self.model.normalise(name, label, batch)
            for name, label in labels.items()
        }
        errors = {
            name: self.model.physical(name, value.detach(), batch) - labels[name]
            for name, value in predictions.items()
        }
        return multi_target_loss(self._loss, predictions, normalised), errors

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch; log it and the batch's MAE."""
        loss, errors = self._step(batch)
        if not loss.isfinite():
            raise MolfltError(
                f"The loss is {loss.item()} at step {self.global_step}; a lower "
                "model.lr or trainer.gradient_clip_val may help."
            )
        self.log("train/loss", loss, batch_size=batch.num_graphs)
        for name, error in errors.items():
            self.log(
                f"train/{name}/{self._mae(name)}",
                error.abs().mean(),
                batch_size=batch.num_graphs,
                prog_bar=True,
            )
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"])
        return loss

    def validation_step(
        self, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Add a batch to the metrics of its split."""
        self._evaluate(batch, self._data.val_names[dataloader_idx])

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Add a batch to the metrics of its split."""
        self._evaluate(batch, self._data.test_names[dataloader_idx])

    def _evaluate(self, batch: Batch, split: str) -> None:
        for name, errors in self._step(batch)[1].items():
            if (split, name) not in self._metrics:
                self._metrics[split, name] = AbsoluteErrors().to(self.device)
            self._metrics[split, name].update(errors, batch.sid)

    def on_validation_epoch_start(self) -> None:
        """Forget the errors of an earlier, perhaps interrupted, pass."""
        self._metrics.clear()

    def on_test_epoch_start(self) -> None:
        """Forget the errors of an earlier, perhaps interrupted, pass."""
        self._metrics.clear()

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of all splits."""
        self._log_metrics()

    def on_test_epoch_end(self) -> None:
        """Log the metrics of all splits."""
        self._log_metrics()

    def _log_metrics(self) -> None:
        for index, ((split, target), metric) in enumerate(self._metrics.items()):
            values = metric.compute()
            mae = self._mae(target)
            self.log(f"{split}/{target}/{mae}", values["mae"], prog_bar=index == 0)
            if mae == "mae_eV":
                self.log(f"{split}/{target}/ewt_percent", values["ewt_percent"])

    def _mae(self, target: str) -> str:
        """Return the name of the mean absolute error, with its unit."""
        assert self.model is not None
        return f"mae_{unit_in_name(self.model.target_spec(target).unit)}"

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the model record, with the averaged weights if there are any.

        Callbacks run first: `EMA` has put the average into ``state_dict`` by now.
        """
        assert self.model is not None
        record = model_record(self.model)
        prefix = "model."
        record["state"] = {
            name.removeprefix(prefix): value
            for name, value in checkpoint["state_dict"].items()
            if name.startswith(prefix)
        }
        checkpoint["molflt"] = record
        steps = self.trainer.global_step
        epoch, step = divmod(steps, self._steps_per_epoch())
        checkpoint["position"] = {
            "epoch": epoch,
            "batch": step * self.trainer.accumulate_grad_batches,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Tell the data module where training goes on."""
        if self.trainer.training:
            data, position = self._data, checkpoint["position"]
            seen = position["batch"] * data.batch_size * self.trainer.world_size
            data.resume_at(position["epoch"], seen)

    @property
    def _data(self) -> GraphDataModule:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, GraphDataModule)
        return data

    def _steps_per_epoch(self) -> int:
        batches = self.trainer.num_training_batches
        return math.ceil(batches / self.trainer.accumulate_grad_batches)


def _label(batch: Batch, name: str) -> Tensor:
    if name not in batch:
        raise InputError(
            f"Record {batch.sid[0]} has no label '{name}'; "
            "training and evaluation need one for every structure."
        )
    return batch[name].to(torch.float64)
