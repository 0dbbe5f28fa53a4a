"""Which checkpoint an interrupted run can go on from, and in which epoch."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pytorch_lightning import Trainer

from molflt.checkpoint import load
from molflt.data.datamodule import GraphDataModule
from molflt.errors import InputError
from molflt.model import FLTEncoder, FLTModel
from molflt.own_classes import class_to_load


def resumable_model(
    path: str | Path,
    encoder: FLTEncoder,
    *,
    tag_weighted_readout: bool,
    interaction_energy: bool,
) -> FLTModel:
    """Return the model of a checkpoint if it is the one that is being trained.

    Args:
        path: Checkpoint of the interrupted run.
        encoder: The encoder that is to be trained.
        tag_weighted_readout: Whether its readout has a weight per tag.
        interaction_energy: Whether its energies count from adsorbate and slab apart.

    Raises:
        InputError: Not a checkpoint, or one of another model.
    """
    model = load(path, encoder_class=class_to_load(encoder))
    found = model.encoder.config
    differing = [
        f"{key} {found.get(key)!r} instead of {value!r}"
        for key, value in encoder.config.items()
        if value != found.get(key)
    ]
    weighted = any(spec.readout == "tags" for spec in model.targets)
    between = any(spec.interaction for spec in model.targets)
    differing += [
        f"{option} {before} instead of {wanted}"
        for option, before, wanted in (
            ("tag_weighted_readout", weighted, tag_weighted_readout),
            ("interaction_energy", between, interaction_energy),
        )
        if before != wanted
    ]
    if differing:
        listed = ", ".join(differing)
        raise InputError(f"{path} cannot be resumed: its model has {listed}.")
    return model


def refuse_other_heads(before: Iterable[str], now: Iterable[str]) -> None:
    """Refuse a run that has an auxiliary head which the other lacks, or not.

    Args:
        before: Names of the parameters saved.
        now: Names of those that shall be trained.

    Raises:
        InputError: They differ in that.
    """
    had, has = (any(name.startswith("objective.") for name in n) for n in (before, now))
    if had != has:
        raise InputError(
            f"The run cannot be resumed: it was {'' if had else 'not '}trained with "
            "model.displacement_weight."
        )


def seed_of(trainer: Trainer, seed: int, batch_idx: int) -> tuple[int, ...]:
    """Return what determines the moves of a batch, in a resumed run as well.

    Args:
        trainer: The trainer.
        seed: Seed of the run.
        batch_idx: Number of the batch.
    """
    part = batch_idx % trainer.accumulate_grad_batches
    return seed, trainer.global_step, part, trainer.global_rank


def position_in_epoch(trainer: Trainer) -> dict[str, int]:
    """Return the epoch, and how many of its batches were used."""
    batches_a_step = trainer.accumulate_grad_batches
    steps_an_epoch = math.ceil(trainer.num_training_batches / batches_a_step)
    epoch, step = divmod(trainer.global_step, steps_an_epoch)
    return {"epoch": epoch, "batch": step * batches_a_step}


def go_on(checkpoint: dict[str, Any], trainer: Trainer, data: GraphDataModule) -> None:
    """Tell the data and Lightning's counters where an interrupted run goes on.

    Args:
        checkpoint: What it saved; changed in place, see `place_in_epoch`.
        trainer: Trainer of the run that goes on.
        data: Its data.
    """
    position = checkpoint["position"]
    seen = position["batch"] * data.batch_size * trainer.world_size
    data.resume_at(position["epoch"], seen)
    place_in_epoch(checkpoint, max_steps=trainer.max_steps != -1)


def place_in_epoch(checkpoint: dict[str, Any], *, max_steps: bool) -> None:
    """Correct Lightning's count of epochs, in place, to where the run stopped.

    Its counters mislead it in two cases. A run with `max_steps` takes up its last epoch
    even if that was over, and counts it again: order and number of epochs would be off
    by one. It shall begin the next one. A run that `max_steps` ended inside an epoch
    saved that epoch as over: the rest of it would be left out.

    Args:
        checkpoint: What a run saved, with its ``position``.
        max_steps: Whether the run that goes on has a limit of steps.
    """
    loops = checkpoint["loops"]["fit_loop"]
    at_boundary = checkpoint["position"]["batch"] == 0
    now = loops["epoch_progress"]["current"]
    in_validation = now["processed"] < now["started"]  # cut short: it is made up for
    if at_boundary and (in_validation or not max_steps):
        return
    for epochs in loops["epoch_progress"].values():
        if epochs["ready"] != epochs["started"]:
            continue  # the next one waits already
        over = epochs["started"] if at_boundary else epochs["started"] - 1
        epochs["processed"] = epochs["completed"] = over
        epochs["ready"] += at_boundary
    if at_boundary:
        batches = loops["epoch_loop.batch_progress"]
        batches["current"] = dict.fromkeys(batches["current"], 0)
        batches["is_last_batch"] = False
