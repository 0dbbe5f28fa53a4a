"""``best.ckpt``: the state with the lowest error of the validation."""

import logging
import math
import shutil
from pathlib import Path
from typing import Any, Protocol, cast

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from molflt.checkpoint import read_record
from molflt.errors import InputError
from molflt.files import atomic_path

log = logging.getLogger(__name__)

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

    A run that goes on in another folder takes the best so far along: Lightning forgets
    their errors, and the first state after an interruption would be the best.
    """

    _before: dict[str, Any] | None = None  # what a run that is resumed knew

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Fill in what is missing; the data are known by now."""
        self._before = None  # not what a run knew that was refused
        if self.monitor is None and stage == "fit":
            self.monitor = cast(_Monitored, pl_module).first_error()
        if self.filename == BEST and self.save_top_k not in (0, 1):
            self.filename = f"{BEST}-step={{step}}"
        super().setup(trainer, pl_module, stage)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Note what was the best before; the run may still be refused."""
        super().load_state_dict(state_dict)
        moved = self.dirpath != state_dict.get("dirpath", self.dirpath)
        self._before = state_dict if moved else None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Copy the best before into this folder, if all of them are still there."""
        super().on_train_start(trainer, pl_module)
        before, self._before = self._before, None
        scores = before["best_k_models"] if before else {}
        if before and self.save_top_k == -1:  # of all, the best is enough
            scores = {p: s for p, s in scores.items() if p == before["best_model_path"]}
        kept = all(self._is_of(path, float(score)) for path, score in scores.items())
        kept = trainer.strategy.broadcast(kept)  # files may be on one machine alone
        limit = len(scores) if self.save_top_k == -1 else self.save_top_k
        if not before or not kept or not 0 < len(scores) <= limit:
            return
        copies = {
            path: str(Path(str(self.dirpath), Path(path).name)) for path in scores
        }
        for path, copy in copies.items() if trainer.is_global_zero else ():
            Path(copy).parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(copy) as temporary:
                shutil.copyfile(path, temporary)
            log.info("The best so far, %s %.4g: %s", self.monitor, scores[path], copy)
        known: dict[str, Any] = {
            name: copies.get(before[name], "")
            for name in ("best_model_path", "kth_best_model_path")
        }
        known["best_k_models"] = {copies[path]: scores[path] for path in scores}
        super().load_state_dict(before | known | {"dirpath": self.dirpath})

    def _is_of(self, path: str, score: float) -> bool:
        """Return whether a file has that error, and not another state by now."""
        try:
            origin = read_record(path)["origin"]
        except InputError:
            return False
        error = origin.get("errors", {}).get(self.monitor, math.nan)
        return math.isclose(error, score, rel_tol=1e-6)
