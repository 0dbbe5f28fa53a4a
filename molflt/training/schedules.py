"""Learning-rate schedules as factors of the step."""

import math
from collections.abc import Callable
from typing import Literal

from pytorch_lightning import Trainer

from molflt.errors import UsageError

ScheduleName = Literal["cosine", "constant"]


def warmup_cosine(step: int, warmup_steps: int, total_steps: int) -> float:
    """Factor of the learning rate: linear rise, then half a cosine down to 0.

        (s + 1) / w                             for s < w
        (1 + cos(pi (s - w) / (T - w))) / 2     for s >= w

    with s `step`, w `warmup_steps`, T `total_steps`; 0 after the end. The first step
    already moves; the factor reaches 1 at s = w - 1.

    Args:
        step: Optimiser steps done, from 0.
        warmup_steps: Steps of the rise; cut to a third of short schedules.
        total_steps: Length of the schedule.
    """
    warmup_steps = min(warmup_steps, total_steps // 3)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


def constant_after_warmup(step: int, warmup_steps: int, total_steps: int) -> float:
    """Factor of the learning rate: linear rise as `warmup_cosine`, then 1.

    Args:
        step: Optimiser steps done, from 0.
        warmup_steps: Steps of the rise.
        total_steps: Ignored; present so that schedules are interchangeable.
    """
    del total_steps
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0


SCHEDULES: dict[ScheduleName, Callable[[int, int, int], float]] = {
    "cosine": warmup_cosine,
    "constant": constant_after_warmup,
}


def steps_of(trainer: Trainer) -> int:
    """Return how many optimiser steps a training has, at least 1.

    Raises:
        UsageError: It has no end.
    """
    total = trainer.estimated_stepping_batches
    if total == float("inf"):
        raise UsageError(
            "The schedule needs an end: trainer.max_epochs or trainer.max_steps."
        )
    return max(1, int(total))
