"""``best.ckpt``: the state with the lowest error of the validation."""

from typing import Protocol, cast

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

BEST = "best"
"""Name of the file, if there is one."""


class _Monitored(Protocol):
    def first_error(self) -> str | None: ...


class BestCheckpoint(ModelCheckpoint):
    """Lightning's `ModelCheckpoint`, told what to keep where the options do not say.

    Without `monitor`, Lightning keeps the last state and calls it the best: here the
    first error of the first validation set counts (`FLTTask.first_error`). Several of
    the best (`save_top_k`) cannot all be ``best.ckpt``: with that name they would write
    over each other, so they are called by step.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Fill in what is missing; the data are known by now."""
        if self.monitor is None and stage == "fit":
            self.monitor = cast(_Monitored, pl_module).first_error()
        if self.filename == BEST and self.save_top_k not in (0, 1):
            self.filename = f"{BEST}-step={{step}}"
        super().setup(trainer, pl_module, stage)
