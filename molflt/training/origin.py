"""Where the weights of a run come from, kept in its checkpoints for people to read."""

from collections.abc import Mapping
from typing import Any

import torch
from pytorch_lightning import Trainer
from pytorch_lightning.trainer.states import TrainerFn

from molflt.provenance import provenance
from molflt.training.fitting import data_of
from molflt.training.resuming import Place


class RunOrigin:
    """What is noted of one training run; see `FLTModel.origin`.

    Args:
        before: Origin of the weights it starts with.
        trainer: Trains on a `GraphDataModule`.
        place: Place of the run.
    """

    def __init__(
        self, before: Mapping[str, Any], trainer: Trainer, place: Place
    ) -> None:
        data = data_of(trainer)
        logger = trainer.logger
        self._fixed = {
            **before,
            **({} if logger is None or not logger.name else {"name": logger.name}),
            "data": data.description,
            # Of now: the checkout may have moved on when the run ends.
            **provenance(),
        }
        self._structures = len(data.train)
        self._place = place
        self._validated: tuple[int, dict[str, float]] = (-1, {})

    def validated(self, trainer: Trainer, metrics: Mapping[str, Any]) -> None:
        """Note the errors of a validation, by name of the metric.

        Those of other passes than the run's own do not count.
        """
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        errors = {name: float(value) for name, value in sorted(metrics.items())}
        self._validated = trainer.global_step, errors

    def now(self, trainer: Trainer) -> dict[str, Any]:
        """Return the origin of the weights that the run has now, as plain values.

        Errors are among it if these weights were validated.
        """
        step, errors = self._validated
        out = {
            **self._fixed,
            "training": {
                "structures": self._structures,
                "epochs": self._place.reached(trainer)["epoch"],
                "steps": trainer.global_step,
                "processes": trainer.world_size,
                "threads": torch.get_num_threads(),
            },
        }
        out.pop("errors", None)  # of the weights before
        return out | ({"errors": errors} if step == trainer.global_step else {})
