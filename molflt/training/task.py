"""The training loop's view of a model: loss, metrics, optimiser."""

from pathlib import Path
from typing import Any, NoReturn

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch_geometric.data import Batch

from molflt.checkpoint import refuse_unsaveable
from molflt.errors import UsageError
from molflt.model import FLTEncoder
from molflt.own_classes import class_to_load
from molflt.plain_values import plain
from molflt.targets import TargetSpec
from molflt.training import resuming, same_run
from molflt.training.augmentation import PositionAugmentation
from molflt.training.callbacks import check_monitors
from molflt.training.checkpoint_io import record_in
from molflt.training.displacement import Decay
from molflt.training.evaluated_task import EvaluatedTask
from molflt.training.fitting import starting_model
from molflt.training.labels import LabelledDataset, check_derivatives, tell_units
from molflt.training.losses import Loss, refuse_not_finite
from molflt.training.objective import Objective
from molflt.training.optimizers import (
    Descent,
    Interval,
    OptimizerFactory,
    Schedule,
    options_of,
)
from molflt.training.origin import RunOrigin
from molflt.training.schedules import steps_of
from molflt.training.targets import check_weights, chosen_targets


class FLTTask(EvaluatedTask):
    r"""Fit an `FLTModel` to the targets of a data module.

    The loss is taken on normalised targets (residuals after the atoms' references, in
    standard deviations of the training set), with terms for forces, stress and
    displacements where these have a weight (`Objective`). Everything logged is in
    physical units: ``{split}/{target}/mae_{unit}``, for targets in eV
    ``{split}/{target}/ewt_percent``, and ``{split}/{target}/force_mae_eV_per_A``
    (over components) and ``stress_mae_eV_per_A3``, with the data module's names of
    splits; for several targets ``{split}/all/mae_std``, too (`objective.MEAN_ERROR`).

    The model is built when training starts, from the data module's targets and the
    statistics of its training set.

    Args:
        encoder: Architecture and first weights (density features that were fitted stay
            as they are); `Pretrained`: those of a checkpoint.
        targets: Names of the data module's targets to learn; None: all of them.
        loss: ``l1`` |e|, ``mse`` e^2, ``huber`` or ``log``, see `losses`; or a function
            or class that compares predictions with labels, value by value.
        lr: Peak learning rate of AdamW.
        weight_decay: Decay of the weights of linear layers; nothing else decays.
        warmup_steps: Optimiser steps of linear rise; at most a third of the schedule.
        schedule: ``cosine``: half a cosine down to 0 at the last step (set
            ``trainer.max_epochs`` or ``trainer.max_steps``); ``constant``; or a class
            of ``torch.optim.lr_scheduler``, without the rise.
        schedule_interval: How often a schedule of such a class is updated.
        optimizer: Class of ``torch.optim`` for AdamW, with a rate and decay of its own.
        force_weight: Weight of the forces in the loss; 0: not trained on.
        stress_weight: Weight of the stress in the loss; 0: not trained on.
        displacement_weight: Weight, at the start, of the displacements to the relaxed
            positions, an auxiliary task; 0: none.
        displacement_decay: How that weight falls to 0: ``linear`` or ``cosine``.
        position_noise: Standard deviation [Å], at the start, of noise on the positions
            of free atoms in training; 0: none. See `PositionAugmentation`.
        position_interpolation: Probability, at the start, that a training structure is
            put at a random point of its way to the relaxed positions; 0: none.
        tag_weighted_readout: Multiply each atom's share by a learned weight of its tag
            (sub-surface, surface, adsorbate); those of the slab start at 0.
        interaction_energy: Sum over the adsorbate's atoms what the slab adds to their
            terms: for energies that count from adsorbate and slab by themselves.
        target_weights: Weights of the targets' losses by name; 1 where there is none.

    Raises:
        UsageError: Options out of range, or that contradict each other.
    """

    def __init__(
        self,
        encoder: FLTEncoder,
        targets: list[str] | None = None,
        loss: Loss = "l1",
        lr: float = 1e-3,
        weight_decay: float = 1e-2,
        warmup_steps: int = 200,
        schedule: Schedule = "cosine",
        schedule_interval: Interval = "epoch",
        optimizer: OptimizerFactory | None = None,
        force_weight: float = 0.0,
        stress_weight: float = 0.0,
        displacement_weight: float = 0.0,
        displacement_decay: Decay = "linear",
        position_noise: float = 0.0,
        position_interpolation: float = 0.0,
        tag_weighted_readout: bool = False,
        interaction_energy: bool = False,
        target_weights: dict[str, float] | None = None,
    ) -> None:
        super().__init__()
        descent = (lr, weight_decay, warmup_steps, schedule, schedule_interval)
        self._descent = Descent(*descent, optimizer)
        # In a tuple, so that the encoder is registered once, as part of the model.
        self._encoder = (encoder,)
        self.encoder_class = class_to_load(encoder)  # that checkpoints are loaded with
        self._target_names = targets
        self.objective = Objective(
            *(encoder, loss, force_weight, stress_weight),
            *(displacement_weight, displacement_decay, target_weights),
        )
        if targets is not None:
            check_weights(self.objective.target_weights, targets)
        self._augmentation = PositionAugmentation(
            position_noise, position_interpolation
        )
        if force_weight or stress_weight:
            self._augmentation.refuse_derivatives()
        self._readout = {
            "tag_weighted_readout": tag_weighted_readout,
            "interaction_energy": interaction_energy,
        }
        self._total_steps = 1
        self.recent: dict[str, Tensor] = {}  # errors of the last training batch
        self._saveable = False  # whether that was looked at, once in a run
        self._place = resuming.Place()
        self._method: dict[str, str] = {}  # optimiser and schedule of the run
        self._options: list[dict[str, Any]] = []  # of the optimiser, before resuming

    @classmethod
    def load_from_checkpoint(cls, *args: Any, **options: Any) -> NoReturn:
        """Refuse: a checkpoint has a model, and no task's options (`UsageError`)."""
        raise UsageError(
            "FLTTask has no load_from_checkpoint: molflt.load(path) returns the model "
            "for predictions, molflt fit --ckpt_path goes on with the training."
        )

    def resume_from(self, path: str | Path) -> None:
        """Take the model of a checkpoint, which must be of this architecture.

        Its statistics are those of the interrupted run: training data are not read
        for them again. Weights, optimiser and position follow from
        ``trainer.fit(ckpt_path=path)``.

        Raises:
            InputError: Not a checkpoint, or one of another model.
        """
        model = resuming.resumable_model(path, self._encoder[0], **self._readout)
        self.model = model.train()

    def configure_model(self) -> None:
        """Build the model, unless there is one already (resumed, or given).

        Raises:
            UsageError: Training was not run before evaluation, a target or the target
                of a weight is unknown, or a callback changes the accumulation.
        """
        if self.trainer.training:
            same_run.refuse_changing_accumulation(self.trainer)
        if not self.trainer.global_step:  # otherwise this one goes on
            self._place = resuming.Place()
        if self.model is not None:
            if self.trainer.training:
                self._augmentation.check(self.model.targets)
                self.objective.check(self.model.targets)
            return
        if not self.trainer.training:
            raise UsageError(
                "There is no trained model to evaluate; give a checkpoint."
            )
        targets = self._chosen_targets()
        self.objective.check(targets)
        self._augmentation.check(targets)
        needed = self.objective.labels | self._augmentation.labels
        labelled = LabelledDataset(self._data.train, needed)
        check_derivatives(labelled, targets, self.objective.derivatives.force_weight)
        tell_units(labelled, targets)
        self.model = starting_model(self._encoder[0], targets, labelled)

    def _chosen_targets(self) -> list[TargetSpec]:
        return chosen_targets(self._data.targets, self._target_names, **self._readout)

    def first_error(self) -> str | None:
        """Return the name of what validation shows first; None: there is none."""
        splits = self._data.val_names
        error = self.objective.first_error(self._chosen_targets())
        return f"{splits[0]}/{error}" if splits else None

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return the optimiser and the schedule."""
        self._total_steps = steps_of(self.trainer)
        plan = self._descent.start(self, self.trainer, self.first_error())
        before, self._method = self._method, self._descent.names(plan)
        same_run.refuse_other_method(before, self._method)
        self._options = options_of(plan["optimizer"])
        return plan  # type: ignore[return-value]  # a TypedDict in Lightning

    def on_train_start(self) -> None:
        """Let this run's options of the optimiser act where another one is resumed."""
        if self._options:  # a task with an optimiser of its own has none
            self._descent.go_on(self.trainer, self._options)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch; log it and the batch's errors."""
        assert self.model is not None
        self._place.begin_batch(self.trainer)
        progress = min(1.0, self.global_step / self._total_steps)
        seeds = self._data.seed, self._data.run_seed
        seed = resuming.seed_of(self.trainer, *seeds, batch_idx)
        batch = self._augmentation(batch, seed, progress)
        loss, errors = self.objective(self.model, batch, progress)
        if self.global_step == 0:
            check_monitors(self.trainer, self._data.val_names, errors)
        # Asking a GPU for the value makes it wait: from time to time is soon enough.
        if self.device.type == "cpu" or batch_idx % 16 == 0:
            refuse_not_finite(loss, self.global_step)
        size = batch.num_graphs
        self.log("train/loss", loss, batch_size=size)
        for name, error in errors.items():
            # Lightning would ask for what its bar shows after every batch.
            self.recent[f"train/{name}"] = error.mean()
            self.log(f"train/{name}", self.recent[f"train/{name}"], batch_size=size)
        for optimizer in self.trainer.optimizers[:1]:  # a task of one's own: none
            # A tensor on the CPU: to move it is to wait.
            self.log("lr", torch.tensor(optimizer.param_groups[0]["lr"]))
        return loss

    def on_fit_start(self) -> None:
        """Note where the weights will come from; refuse what could not be saved.

        Raises:
            UsageError: There are to be checkpoints, which the model would not come back
                from as it is: before the first step, and not after an epoch.
        """
        assert self.model is not None
        self._saveable = False
        if self.trainer.checkpoint_callbacks:
            refuse_unsaveable(self.model)
            self._saveable = True
        self._origin = RunOrigin(self.model.origin, self.trainer, self._place)

    def on_fit_end(self) -> None:
        """Leave that with the model; a later validation is of no run."""
        assert self.model is not None
        assert self._origin is not None
        if self.trainer.global_step:
            self.model.origin = self._origin.now(self.trainer)
        self._origin, self._saveable = None, False

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the model record, with the averaged weights if there are any.

        Callbacks run first: `EMA` has put the average into ``state_dict`` by now.
        """
        assert self.model is not None
        record = record_in(checkpoint, self.model, checked=self._saveable)
        if self._origin is not None:
            record["origin"] = self._origin.now(self.trainer)
        place = self._place.reached(self.trainer)
        checkpoint |= {"molflt": record, "position": place}
        checkpoint["run_seed"] = self._data.run_seed
        checkpoint |= same_run.record(self, self._method)
        checkpoint |= plain(checkpoint)  # a learning rate may be one of NumPy's

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Tell the data module where training goes on, the model whose weights it gets.

        Raises:
            InputError: It is of another run, see `same_run`.
        """
        if not self.trainer.training:  # weights of another state, in this model
            assert self.model is not None
            self.model.origin = dict(checkpoint.get("molflt", {}).get("origin", {}))
        else:
            same_run.refuse_other_run(checkpoint, self)
            self._method = checkpoint.get(same_run.METHOD, {})
            resuming.take_up(checkpoint, self.trainer, self._data, self._place)
