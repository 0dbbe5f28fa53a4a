"""Which checkpoint an interrupted run can go on from, and in which epoch."""

from collections.abc import Mapping
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
        encoder: The encoder that is to be trained; what it has frozen stays frozen.
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
    for name, parameter in encoder.named_parameters():
        if not parameter.requires_grad:
            model.encoder.get_parameter(name).requires_grad_(False)
    return model


def seed_of(
    trainer: Trainer, seed: int, run_seed: int, batch_idx: int
) -> tuple[int, ...]:
    """Return what determines the moves of a batch, in a resumed run as well.

    Args:
        trainer: The trainer.
        seed: Seed of the data.
        run_seed: Seed of the run; 0: as without it.
        batch_idx: Number of the batch.
    """
    part = batch_idx % trainer.accumulate_grad_batches
    seeds = seed, trainer.global_step, part, trainer.global_rank
    return (*seeds, run_seed) if run_seed else seeds  # a fifth number counts, 0 too


class Place:
    """The epoch of a run, and how many of its batches the weights have seen.

    Batches are counted as they come: steps do not tell, as a run may go on with another
    number of them an epoch, and Lightning's counts of epochs are ahead or behind where
    it saves between two. Gradients that were accumulated for a step to come are lost
    where a run stops: their batches do not count.
    """

    def __init__(self) -> None:
        self.go_to({"epoch": 0, "batch": 0}, 0)

    def go_to(self, position: Mapping[str, int], step: int) -> None:
        """Take the place of a run that is resumed, after so many optimiser steps."""
        self._now = self._stepped = position["epoch"], position["batch"]
        self._steps = step

    def begin_batch(self, trainer: Trainer) -> None:
        """Count a batch that is about to be used."""
        if trainer.global_step > self._steps:  # with all batches before this one
            self._stepped, self._steps = self._now, trainer.global_step
        epoch, batch = self._now
        last = batch + 1 == trainer.num_training_batches
        self._now = (epoch + 1, 0) if last else (epoch, batch + 1)

    def reached(self, trainer: Trainer) -> dict[str, int]:
        """Return the epoch, and how many of its batches the weights have seen."""
        stepped = trainer.global_step > self._steps  # since the last batch began
        epoch, batch = self._now if stepped else self._stepped
        return {"epoch": epoch, "batch": batch}


def take_up(
    checkpoint: dict[str, Any], trainer: Trainer, data: GraphDataModule, place: Place
) -> None:
    """Let trainer and data go on where a run stopped.

    Args:
        checkpoint: What it saved; Lightning's counts in it are corrected in place.
        trainer: The trainer that goes on.
        data: Its data, of which those that the epoch has seen are left out.
        place: Is put to the place of the run.

    Raises:
        InputError: The run stopped within an epoch of `overfit_batches`, for which
            Lightning replaces the order of the data.
    """
    position = checkpoint["position"]
    if position["batch"] and trainer.overfit_batches:  # type: ignore[attr-defined]
        raise InputError(
            "A run with trainer.overfit_batches cannot go on within an epoch, after "
            f"{position['batch']} of its batches; start it again, or go on from a "
            "checkpoint of the end of an epoch."
        )
    place.go_to(position, checkpoint["global_step"])
    seen = position["batch"] * data.batch_size * trainer.world_size
    data.resume_at(position["epoch"], seen)
    data.run_seed = checkpoint.get("run_seed", 0)  # whatever seed this run was given
    dropped = _drop_accumulated(checkpoint)
    limited = trainer.max_steps != -1
    _place_in_epoch(checkpoint, max_steps=limited, inside=dropped)


def _drop_accumulated(checkpoint: dict[str, Any]) -> bool:
    """Take back Lightning's count of batches whose step was not taken any more.

    Returns:
        Whether there were any: then the epoch has begun, also with none that counts.
    """
    batches = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    done = batches["current"]["processed"]
    lost = done - checkpoint["position"]["batch"]
    if batches["is_last_batch"] or lost <= 0:
        return False  # an epoch that is over has had its last step
    for counts in (batches["total"], batches["current"]):
        counts |= dict.fromkeys(counts, counts["processed"] - lost)
    return True


def _place_in_epoch(
    checkpoint: dict[str, Any], *, max_steps: bool, inside: bool
) -> None:
    """Correct Lightning's count of epochs, in place, to where the run stopped.

    Its counters mislead it in two cases. A run with `max_steps` takes up its last epoch
    even if that was over, and counts it again: order and number of epochs would be off
    by one. It shall begin the next one. A run that `max_steps` ended inside an epoch
    saved that epoch as over: the rest of it would be left out.

    Args:
        checkpoint: What a run saved, with its ``position``.
        max_steps: Whether the run that goes on has a limit of steps.
        inside: Whether the epoch has begun whatever its position says.
    """
    loops = checkpoint["loops"]["fit_loop"]
    at_boundary = checkpoint["position"]["batch"] == 0 and not inside
    now = loops["epoch_progress"]["current"]
    in_validation = now["processed"] < now["started"]  # cut short: it is made up for
    if at_boundary and (in_validation or not max_steps):
        return
    for epochs in loops["epoch_progress"].values():
        if epochs["ready"] > epochs["started"]:
            continue  # the next one waits already
        epochs["ready"] = epochs["started"]  # behind if an earlier run went on, too
        over = epochs["started"] if at_boundary else epochs["started"] - 1
        epochs["processed"] = epochs["completed"] = over
        epochs["ready"] += at_boundary
    if at_boundary:
        batches = loops["epoch_loop.batch_progress"]
        batches["current"] = dict.fromkeys(batches["current"], 0)
        batches["is_last_batch"] = False
