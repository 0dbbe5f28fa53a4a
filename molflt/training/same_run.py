"""What must not change where an interrupted run goes on."""

from collections.abc import Mapping
from typing import Any

from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import GradientAccumulationScheduler
from torch import nn

from molflt.errors import InputError, UsageError
from molflt.training.checkpoint_io import without_training

TRAINED = "trained_parameters"
"""Key of a checkpoint: how many parameters learned in its run."""

METHOD = "method"
"""Key of a checkpoint: optimiser and schedule of its run, by option of the task."""


def record(module: nn.Module, method: Mapping[str, str]) -> dict[str, Any]:
    """Return what a checkpoint keeps to tell its run from others.

    Args:
        module: What is trained.
        method: Its optimiser and schedule, by option of the task.
    """
    return {TRAINED: _num_trained(module), METHOD: dict(method)}


def refuse_other_run(checkpoint: dict[str, Any], now: nn.Module) -> None:
    """Refuse a run with another auxiliary head or loss, or other parameters frozen.

    Args:
        checkpoint: What a run saved.
        now: What shall be trained now.

    Raises:
        InputError: They differ in that, or the checkpoint has a model alone.
    """
    states = checkpoint["state_dict"], now.state_dict()
    for part, option in (
        ("objective.displacement.head.", "model.displacement_weight"),
        ("objective.loss.", "the parameters of this model.loss"),
    ):
        had, has = (
            {name for name in state if name.startswith(part)} for state in states
        )
        if had != has:
            without = "not " if has else ""
            raise InputError(
                f"The run cannot be resumed: it was {without}trained with {option}."
            )
    if "optimizer_states" not in checkpoint:  # ModelCheckpoint(save_weights_only=True)
        raise without_training("The checkpoint")
    before, after = checkpoint.get(TRAINED), _num_trained(now)
    if before is not None and before != after:
        raise InputError(
            f"The run cannot be resumed: {before} parameters learned in it, and "
            f"{after} would now; what is frozen must be as it was "
            "(model.encoder.init_args.freeze_encoder)."
        )


def _num_trained(module: nn.Module) -> int:
    return sum(parameter.requires_grad for parameter in module.parameters())


def refuse_other_method(before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Refuse an optimiser or schedule that cannot go on with what another remembered.

    Args:
        before: Those of the run that is resumed, by option of the task; or nothing.
        now: Those that shall go on.

    Raises:
        InputError: They differ; the sentence names the options.
    """
    changed = [
        f"model.{option} {before[option]} instead of {value}"
        for option, value in now.items()
        if before.get(option, value) != value
    ]
    if changed:
        raise InputError(f"The run cannot be resumed: it had {', '.join(changed)}.")


def refuse_changing_accumulation(trainer: Trainer) -> None:
    """Refuse Lightning's callback that accumulates otherwise from some epoch on.

    The length of the schedule is reckoned with one accumulation, and Lightning forgets
    the callback's where a run goes on within an epoch.

    Raises:
        UsageError: There is one that accumulates.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if (
            isinstance(callback, GradientAccumulationScheduler)
            and callback.going_to_accumulate_grad_batches()
        ):
            raise UsageError(
                f"trainer.callbacks has {type(callback).__name__}, but a run has one "
                "accumulation from its start to its end: "
                "trainer.accumulate_grad_batches."
            )
