"""Pictures of a run, written where its numbers are: learning curve and parity."""

import csv
import logging
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader

from molflt.analysis.metrics_file import read_metrics
from molflt.analysis.plots import learning_curve, parity
from molflt.analysis.style import DOUBLE, panels, save
from molflt.data.batching import collate
from molflt.data.datamodule import GraphDataModule
from molflt.data.dataset import GraphSubset
from molflt.errors import MolfltError
from molflt.files import atomic_path
from molflt.model import FLTModel
from molflt.targets import TargetSpec
from molflt.training.metrics import error_name

log = logging.getLogger(__name__)


class Prediction(NamedTuple):
    """A label and what the model says, both in the target's unit."""

    split: str
    target: str
    unit: str
    sid: str
    label: float
    prediction: float


class RunPictures(Callback):
    """Draw a run when it has ended, into its own folder and into TensorBoard.

    Files: ``learning_curve_{target}.png`` from ``metrics.csv``, ``parity_{target}.png``
    and ``predictions.csv`` (split, target, unit, sid, label, prediction) of the
    validation splits, or of as much of them as `limit_val_batches` left, by the
    averaged weights of the end. A picture that cannot be written costs a warning, not
    the run.

    Args:
        most: Structures of a split that are predicted again for the parity plot; of
            larger splits they are evenly spread.
    """

    def __init__(self, most: int = 2000) -> None:
        self.most = most

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the pictures, in the first process."""
        folder = run_folder(trainer)
        model, data = getattr(pl_module, "model", None), trainer.datamodule  # type: ignore[attr-defined]
        if folder is None or not trainer.is_global_zero:
            return
        if not isinstance(model, FLTModel) or not isinstance(data, GraphDataModule):
            return
        try:
            for logger in trainer.loggers:
                logger.save()
            # A run can end before its first entry, or have other loggers.
            logged = (folder / "metrics.csv").is_file()
            for spec in model.targets if logged else ():
                self._show(
                    trainer,
                    f"learning_curve_{spec.name}",
                    folder,
                    _learning(folder, spec),
                )
            rows = list(self._predictions(model, data, _validated(trainer, data)))
            write_predictions(folder / "predictions.csv", rows)
            for spec in model.targets:
                self._show(trainer, f"parity_{spec.name}", folder, _parity(rows, spec))
        except (MolfltError, OSError) as error:
            log.warning("No pictures of this run: %s", error)

    def _show(
        self, trainer: Trainer, name: str, folder: Path, figure: Figure | None
    ) -> None:
        if figure is None:
            return
        save(figure, folder / f"{name}.png")
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                figure.set_dpi(120)
                logger.experiment.add_figure(
                    name, figure, trainer.global_step, close=False
                )

    @torch.no_grad()
    def _predictions(
        self,
        model: FLTModel,
        data: GraphDataModule,
        sizes: Mapping[str, int],
    ) -> Iterator[Prediction]:
        device = next(model.parameters()).device
        was_training = model.training
        model.eval()
        for split, dataset in data.val.items():
            seen = min(len(dataset), sizes.get(split, 0))
            count = min(self.most, seen)
            chosen = np.linspace(0, seen - 1, count).round().astype(int)
            part = GraphSubset(dataset, np.unique(chosen))
            for batch in DataLoader(part, data.eval_batch_size, collate_fn=collate):
                predicted = model(batch.to(device))
                for spec in model.targets:
                    if spec.name not in batch:
                        continue
                    both = zip(
                        batch.sid,
                        batch[spec.name].double().tolist(),
                        predicted[spec.name].tolist(),
                        strict=True,
                    )
                    for sid, label, value in both:
                        if not math.isnan(label):  # not all have all labels
                            yield Prediction(
                                split, spec.name, spec.unit, str(sid), label, value
                            )
        model.train(was_training)


def _validated(trainer: Trainer, data: GraphDataModule) -> dict[str, int]:
    """Return how many structures of each split validation looked at: the first ones."""
    batch = data.eval_batch_size * trainer.world_size
    return {
        name: int(min(batches * batch, len(data.val[name])))
        for name, batches in zip(data.val, trainer.num_val_batches, strict=False)
    }


def run_folder(trainer: Trainer) -> Path | None:
    """Return the folder of the run's ``metrics.csv``; None: nothing is logged."""
    for logger in trainer.loggers:
        if isinstance(logger, CSVLogger):
            return Path(logger.log_dir)
    return None


def write_predictions(path: Path, rows: list[Prediction]) -> None:
    """Write predictions as a table; whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Prediction._fields)
        for row in rows:
            writer.writerow([*row[:4], repr(row.label), repr(row.prediction)])


def _learning(folder: Path, spec: TargetSpec) -> Figure | None:
    """Draw the errors of a target, those of forces beside those of the value."""
    quantities = {
        "MAE": (error_name(spec), spec.unit),
        "force MAE": (error_name(spec, "force", "A"), f"{spec.unit}/Å"),
        "stress MAE": (error_name(spec, "stress", "A3"), f"{spec.unit}/Å³"),
    }
    found = {
        name: (read_metrics(folder, f"/{error}"), unit)
        for name, (error, unit) in quantities.items()
    }
    found = {name: pair for name, pair in found.items() if pair[0]}
    if not found:
        return None
    figure, axes = panels(len(found), min(2, len(found)), DOUBLE, height=2.8)
    for ax, (name, (curves, unit)) in zip(axes, found.items(), strict=True):
        learning_curve(ax, curves, spec.name, unit, name)
    return figure


def _parity(rows: list[Prediction], spec: TargetSpec) -> Figure | None:
    """Draw predictions of a target against labels, a panel a split."""
    mine = [row for row in rows if row.target == spec.name]
    splits = list(dict.fromkeys(row.split for row in mine))
    if not splits:
        return None
    figure, axes = panels(len(splits), min(2, len(splits)), DOUBLE, height=3.2)
    for ax, split in zip(axes, splits, strict=True):
        pairs = np.array(
            [(row.label, row.prediction) for row in mine if row.split == split]
        )
        title = f"{split}, {len(pairs):,} structures"
        words = re.sub(r"[_-]+", " ", spec.name)
        parity(ax, pairs[:, 0], pairs[:, 1], title, spec.unit, words)
    return figure
