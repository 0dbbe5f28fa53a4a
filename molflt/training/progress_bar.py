"""What a person sees while a model trains."""

import logging
import math
import sys
import time
from typing import Any, cast

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar

from molflt.unit_names import unit_of_name

log = logging.getLogger(__name__)


GPU_SECONDS = 1.0  # between questions for errors


class MetricsBar(RichProgressBar):
    """Lightning's bar with short names of errors, in physical units.

    Where nobody watches (output into a file), each validation logs one line instead.
    """

    def __init__(self) -> None:
        super().__init__(refresh_rate=10)  # a second; each takes the processor's time
        self._shown: dict[str, Any] = {}
        self._asked = -math.inf

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, Any]:
        """Return ``{"train": "0.12 eV", ...}`` of the first target.

        Errors on a GPU must be waited for, which is done from time to time.
        """
        now = time.monotonic()
        if pl_module.device.type != "cpu" and now - self._asked < GPU_SECONDS:
            return self._shown
        self._asked = now
        metrics = super().get_metrics(trainer, pl_module)
        metrics |= getattr(pl_module, "recent", {})
        short = {}
        for name, value in metrics.items():
            split, _, metric = str(name).rpartition("/")
            kind, is_error, unit = metric.partition("mae_")
            if is_error:
                label = f"{split} {kind.strip('_')}".strip().replace("/", " ")
                number = float(cast(float, value))
                short[label] = f"{number:.3g} {unit_of_name(unit)}"
        self._shown = short
        return short

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the errors of the splits where no bar is drawn."""
        super().on_validation_end(trainer, pl_module)
        if trainer.state.fn != "fit" or not trainer.is_global_zero:
            return
        if trainer.sanity_checking or sys.stdout.isatty():
            return
        errors = ", ".join(
            f"{name} {float(value):.4g}"
            for name, value in trainer.callback_metrics.items()
            if "mae_" in name and not name.startswith("train/")
        )
        log.info("Epoch %d: %s", trainer.current_epoch, errors)
