"""How long the demo trains: a schedule that fits into a time, on any machine."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pytorch_lightning import Callback

from molflt.commands.lightning import FLTCLI, train

WARM_UP, TIMED = 4, 12  # steps for each number of threads
SHARE = 0.85  # of the time for steps; the rest for validation and a busier machine
VALIDATIONS = 4


@dataclass(frozen=True)
class Plan:
    """How long to train.

    Args:
        steps: Optimiser steps; the schedule ends with the last.
        batches: Steps of an epoch.
        seconds: Limit on training, should the machine become slower.
    """

    steps: int
    batches: int
    seconds: float

    @property
    def epochs(self) -> int:
        """Epochs that are begun."""
        return -(-self.steps // self.batches)


def make_plan(words: list[str], minutes: float, steps: int | None) -> Plan:
    """Time steps of a model that is thrown away, and fit a schedule into the minutes.

    torch's threads are set to what was faster, one or all: on a busy machine several
    threads wait for each other and can be many times slower than one.

    Args:
        words: Options of ``molflt fit``.
        minutes: Limit on training.
        steps: Optimiser steps; None: as many as fit, but not more epochs than the
            configuration says.
    """
    limit = 60.0 * minutes
    timer = StepTimer(sorted({1, torch.get_num_threads()}))
    words = [*words, f"--trainer.max_steps={timer.num_steps}"]
    words += ["--trainer.limit_val_batches=0", "--trainer.enable_progress_bar=false"]
    cli = FLTCLI(words, run=False, callbacks=[timer])
    cli.datamodule.setup()
    batches = -(-len(cli.datamodule.train) // cli.datamodule.batch_size)
    if steps is not None:
        return Plan(steps, batches, limit)
    print("Measuring the time of a step.")
    most = cli.config["trainer"]["max_epochs"] * batches
    cli.trainer.fit_loop.max_epochs = -1  # few data have fewer steps than are timed
    messages = logging.getLogger("molflt")
    messages.setLevel(logging.WARNING)
    train(cli)
    messages.setLevel(logging.INFO)
    seconds, threads = min(timer.results())
    torch.set_num_threads(threads)
    return Plan(max(1, min(most, int(SHARE * limit / seconds))), batches, limit)


def planned(words: list[str], plan: Plan) -> FLTCLI:
    """Return task, data and trainer for the plan; validation a few times on the way."""
    seconds = int(plan.seconds)
    clock = f"{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    words = [*words, f"--trainer.max_steps={plan.steps}"]
    words += [f"--trainer.max_epochs={plan.epochs}", f"--trainer.max_time=00:{clock}"]
    every = max(1, plan.epochs // VALIDATIONS)
    return FLTCLI([*words, f"--trainer.check_val_every_n_epoch={every}"], run=False)


class StepTimer(Callback):
    """Time of a step for several numbers of threads.

    Args:
        threads: Numbers of threads, tried one after the other.
    """

    def __init__(self, threads: Sequence[int]) -> None:
        self._threads = list(threads)
        self._ends: list[float] = []
        self._block = WARM_UP + TIMED

    @property
    def num_steps(self) -> int:
        """Steps that are needed."""
        return self._block * len(self._threads)

    def on_train_batch_start(self, *args: Any) -> None:
        """Change the number of threads at the beginning of a block."""
        if len(self._ends) % self._block == 0:
            torch.set_num_threads(self._threads[len(self._ends) // self._block])

    def on_train_batch_end(self, *args: Any) -> None:
        """Note the time."""
        self._ends.append(time.perf_counter())

    def results(self) -> list[tuple[float, int]]:
        """Return the mean seconds of a step after the warm-up, and the threads."""
        pairs = []
        for index, threads in enumerate(self._threads):
            ends = self._ends[index * self._block : (index + 1) * self._block]
            pairs.append(((ends[-1] - ends[WARM_UP - 1]) / TIMED, threads))
        return pairs
