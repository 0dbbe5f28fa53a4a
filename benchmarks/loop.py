"""The training loop that all models of `accuracy.py` share; its clock is CPU time."""

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch_geometric.data import Batch

from molflt.data.datamodule import GraphDataModule
from molflt.training.memory import keep_freed_memory
from molflt.training.optimizers import adamw

EMA_DECAY = 0.99
CLIP_NORM = 10.0
WEIGHT_DECAY = 0.01
WARMUP_FRACTION = 0.05
TIMED_STEPS = 5

SETTINGS: dict[str, Any] = {
    "loss": "l1",
    "optimizer": "AdamW",
    "weight_decay": WEIGHT_DECAY,
    "warmup_fraction": WARMUP_FRACTION,
    "schedule": "cosine of CPU time",
    "ema_decay": EMA_DECAY,
    "clip_norm": CLIP_NORM,
    "matmul_precision": "medium",
}
"""What all models share, for result files."""

Weights = list[Tensor] | tuple[Tensor, ...]
Loss = Callable[[Any, Batch], Tensor]


@dataclass
class Training:
    """What was done, beside the averaged model."""

    model: Any
    steps: int = 0
    molecules: int = 0
    epochs: float = 0.0
    warmup_steps: int = 0
    cpu_seconds: float = 0.0
    curve: list[tuple[float, float]] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """Return numbers for a result file; the curve is (CPU seconds, mean loss)."""
        return {
            "steps": self.steps,
            "warmup_steps": self.warmup_steps,
            "epochs": round(self.epochs, 3),
            "trained_seconds": round(self.cpu_seconds, 2),
            "molecules_per_second": round(self.molecules / self.cpu_seconds, 2),
            "loss_curve": [(round(t, 1), round(loss, 5)) for t, loss in self.curve],
        }


def train(
    model: nn.Module, data: GraphDataModule, loss: Loss, lr: float, seconds: float
) -> Training:
    """Train for `seconds` of CPU time; return the averaged model and what was done.

    AdamW with decay on matrices; linear warm-up over a twentieth of the steps that a
    timed trial (on a copy) promises; then, and times the warm-up, half a cosine of the
    share of the time that is spent, so that training ends with the clock. The clock
    counts all CPU time of the process from the first batch to the last step: collating
    batches, finding neighbours, averaging. It does not count the trial.
    """
    step_seconds = time_steps(model, data, loss, lr)
    done = Training(model)
    done.warmup_steps = max(1, round(WARMUP_FRACTION * seconds / step_seconds))
    optimizer = adamw(model, lr, weight_decay=WEIGHT_DECAY)
    average = AveragedModel(model, multi_avg_fn=average_weights)
    recent: list[Tensor] = []
    start = time.process_time()
    for batch in endless(data):
        done.cpu_seconds = time.process_time() - start
        if done.cpu_seconds >= seconds:
            break
        rate = lr * min(1.0, (done.steps + 1) / done.warmup_steps)
        rate *= 0.5 * (1 + math.cos(math.pi * done.cpu_seconds / seconds))
        for group in optimizer.param_groups:
            group["lr"] = rate
        recent.append(take_step(model, optimizer, loss, batch))
        average.update_parameters(model)
        done.steps += 1
        done.molecules += batch.num_graphs
        if done.cpu_seconds >= seconds * (len(done.curve) + 1) / 20:
            mean = float(torch.stack(recent).mean())
            done.curve.append((done.cpu_seconds, mean))
            recent.clear()
            speed = done.molecules / max(done.cpu_seconds, 1e-9)
            say(
                f"{done.cpu_seconds:.0f} s, step {done.steps}, loss {mean:.4f}, "
                f"{speed:.0f} molecules/s"
            )
    done.epochs = done.molecules / len(data.train)
    done.model = average.module
    return done


def endless(data: GraphDataModule) -> Iterator[Batch]:
    """Yield training batches, in a new order every epoch."""
    epoch = 0
    while True:
        loader = data.train_dataloader()
        loader.sampler.set_epoch(epoch)
        yield from loader
        epoch += 1


def take_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, loss: Loss, batch: Batch
) -> Tensor:
    """Take one step of the optimizer; return the loss, detached."""
    value = loss(model, batch)
    optimizer.zero_grad()
    value.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
    optimizer.step()
    return value.detach()


def time_steps(model: nn.Module, data: GraphDataModule, loss: Loss, lr: float) -> float:
    """Return CPU seconds of a step, from a few steps of a copy of the model."""
    trial = copy.deepcopy(model)
    optimizer = adamw(trial, lr * 1e-3, weight_decay=WEIGHT_DECAY)
    batches = endless(data)
    for _ in range(2):  # allocations and compilations of the first steps
        take_step(trial, optimizer, loss, next(batches))
    start = time.process_time()
    for _ in range(TIMED_STEPS):
        take_step(trial, optimizer, loss, next(batches))
    return (time.process_time() - start) / TIMED_STEPS


@torch.no_grad()
def average_weights(average: Weights, current: Weights, count: Tensor | int) -> None:
    """Move the averages towards the weights, with a decay that rises to its value."""
    decay = min(EMA_DECAY, (1 + int(count)) / (10 + int(count)))
    torch._foreach_lerp_(average, current, 1.0 - decay)


def one_thread() -> None:
    """Compute on one thread, and keep freed memory: the same for all models."""
    torch.set_num_threads(1)
    keep_freed_memory()


def say(text: str) -> None:
    """Write one line of progress."""
    print(f"    {text}", flush=True)
