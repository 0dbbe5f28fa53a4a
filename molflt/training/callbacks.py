"""What happens beside the steps: averaged weights, a good end, throughput."""

import logging
import signal
import threading
import time
from collections.abc import Iterable
from types import FrameType
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import WeightAveraging

from molflt.errors import UsageError
from molflt.training.averaging import RisingAverage
from molflt.training.metrics import share_name

log = logging.getLogger(__name__)


class EMA(WeightAveraging):
    """Exponential moving average of the weights, `RisingAverage`.

    Validation in a training and the model record of a checkpoint use the average, and a
    training that has ended leaves it with the model. What a trainer evaluates then,
    `test(ckpt_path="best")` for one, has the weights that it was given.

    Args:
        decay: The limit d; 0 turns averaging off.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"ema.decay must be in [0, 1), received {decay}.")
        super().__init__(use_buffers=False)
        self.decay = decay
        self._swapped = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start the average at the weights, in the precision they will have.

        Outside of a training there is none, not that of an earlier training either.
        """
        self._average_model, self._swapped = None, False
        if stage == "fit":
            self._latest_update_step = trainer.global_step  # of this trainer
            pl_module.configure_model()  # there must be weights to start at
            average = RisingAverage(pl_module, self.decay)
            # The trainer converts its own weights, but only after this hook.
            trainer.precision_plugin.convert_module(average)  # in place
            self._average_model = average

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the average where the weights are: they have moved there by now.

        Without this, each step would copy all weights from the GPU. How many steps were
        averaged stays on the CPU, which would wait for it in each.
        """
        average = self._average_model
        assert average is not None
        count = average.n_averaged.cpu()
        average.to(pl_module.device).n_averaged = count

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save average and trained weights as what they are, within a validation too.

        Slurm's signal before it takes a machine away comes at any time.
        """
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if self._swapped:
            names = "state_dict", "current_model_state"
            average, trained = (checkpoint[name] for name in reversed(names))
            checkpoint |= dict(zip(names, (average, trained), strict=True))

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take up average and trained weights; for an evaluation it has the average."""
        if self._average_model is not None:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)

    def _swap_models(self, pl_module: LightningModule) -> None:
        super()._swap_models(pl_module)
        self._swapped = not self._swapped

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Put the trained weights back if validation was cut short.

        Without this, a checkpoint written after Ctrl-C during validation would hold
        average and trained weights exchanged.
        """
        if self._swapped:
            self._swap_models(pl_module)


class StopBetweenBatches(Callback):
    """Let Ctrl-C finish the batch in hand, so that the saved state is a whole step.

    The first Ctrl-C raises `KeyboardInterrupt` after the current batch, or after the
    validation that is running or due: a run that is resumed at its last batch does not
    make up for it. A second Ctrl-C raises at once.

    Of several processes, one may hear of Ctrl-C while the others are a batch ahead, and
    all would wait for each other for ever. They ask each other every few batches.

    Args:
        every: Batches between questions to the other processes.
    """

    def __init__(self, every: int = 8) -> None:
        self._every = every
        self._requested = False
        self._announced = False
        self._after_validation = False
        self._previous: Any = None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._requested:
            raise KeyboardInterrupt
        self._requested = True

    def _stop_if_requested(self, trainer: Trainer) -> None:
        """Stop all processes if one of them was asked to."""
        asked = self._requested
        if trainer.world_size > 1:
            # Ctrl-C may come while the answer is waited for. It must not be overwritten
            # by the answer, which cannot know of it: the next question tells.
            asked = trainer.strategy.reduce_boolean_decision(asked, all=False)
        if asked:
            self._requested = self._announced = False
            raise KeyboardInterrupt

    def _announce(self) -> None:
        if self._requested and not self._announced:
            log.info("Stopping after the validation; Ctrl-C again stops at once.")
            self._announced = True

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over Ctrl-C; what an earlier run was asked for is of no account."""
        self._requested = self._announced = self._after_validation = False
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._on_signal)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop here if a validation was waited for."""
        if self._after_validation:
            self._after_validation = False
            self._stop_if_requested(trainer)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Stop here if asked, unless validation is due."""
        due = trainer.is_last_batch
        every = trainer.val_check_batch
        if every is not None and every != float("inf"):
            across_epochs = trainer.check_val_every_n_epoch is None
            last = trainer.fit_loop.total_batch_idx if across_epochs else batch_idx
            due = due or (last + 1) % every == 0
        if due:
            self._after_validation = True
            self._announce()
        elif trainer.world_size == 1 or (batch_idx + 1) % self._every == 0:
            self._stop_if_requested(trainer)

    def on_validation_batch_end(self, *args: Any) -> None:
        """Say what is waited for."""
        self._announce()

    def teardown(
        self, trainer: Trainer, pl_module: LightningModule, stage: str
    ) -> None:
        """Give Ctrl-C back."""
        self._release()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Give Ctrl-C back."""
        self._release()

    def _release(self) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None


class Throughput(Callback):
    """Log ``train/samples_per_second``: structures trained on, without validation.

    Args:
        every: Steps between values.
    """

    def __init__(self, every: int = 50) -> None:
        self._every = every
        self._samples, self._since = 0, 0.0

    def _restart(self) -> None:
        self._samples, self._since = 0, time.perf_counter()

    def on_train_epoch_start(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> None:
        """Start the clock."""
        self._restart()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave out the time of validation."""
        self._restart()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count the batch."""
        self._samples += batch.num_graphs
        if trainer.global_step % self._every == 0:
            rate = self._samples / (time.perf_counter() - self._since)
            pl_module.log("train/samples_per_second", rate, batch_size=1)
            self._restart()


def check_monitors(trainer: Trainer, splits: list[str], errors: Iterable[str]) -> None:
    """Refuse what a callback monitors if the validation will not have it.

    To be called in the first step: Lightning complains after the first epoch.

    Args:
        trainer: The trainer.
        splits: Names of the validation sets; where there are none, nothing is refused.
        errors: What is measured in each, ``{target}/{metric}``.

    Raises:
        UsageError: A callback monitors something else, and no value of the training.
    """
    metrics = [name for error in errors for name in (error, share_name(error)) if name]
    known = [f"{split}/{metric}" for split in splits for metric in metrics]
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        monitor = getattr(callback, "monitor", None)
        if monitor is None or monitor in known or not splits:
            continue
        if monitor.startswith(("train/", "lr")):
            continue
        raise UsageError(
            f"{type(callback).__name__} monitors {monitor!r}, which is none of the "
            f"metrics: {', '.join(known)}."
        )
