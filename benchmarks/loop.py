"""The training loop that all models of `accuracy.py` share."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch

from molflt.data.datamodule import GraphDataModule
from molflt.training.averaging import RisingAverage
from molflt.training.memory import keep_freed_memory
from molflt.training.optimizers import adamw

EMA_DECAY = 0.99
CLIP_NORM = 10.0
WEIGHT_DECAY = 0.01
WARMUP_FRACTION = 0.05

SETTINGS: dict[str, Any] = {
    "loss": "l1",
    "optimizer": "AdamW",
    "weight_decay": WEIGHT_DECAY,
    "warmup_fraction": WARMUP_FRACTION,
    "schedule": "cosine",
    "ema_decay": EMA_DECAY,
    "clip_norm": CLIP_NORM,
    "flush_denormal": True,
    "matmul_precision": torch.get_float32_matmul_precision(),
}
"""What all models share, for result files."""

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
    curve: list[tuple[int, float]] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """Return numbers for a result file; the curve is (step, mean loss)."""
        return {
            "steps": self.steps,
            "warmup_steps": self.warmup_steps,
            "epochs": round(self.epochs, 3),
            "trained_seconds": round(self.cpu_seconds, 2),
            "loss_curve": [(step, round(loss, 5)) for step, loss in self.curve],
        }


class Stepper:
    """A model, its optimiser and the average of its weights: what takes a step.

    Args:
        model: The model.
        loss: Of a model on a batch.
        lr: Peak learning rate.
    """

    def __init__(self, model: nn.Module, loss: Loss, lr: float) -> None:
        self.model, self.loss = model, loss
        self.optimizer = adamw(model, lr, weight_decay=WEIGHT_DECAY)
        self.average = RisingAverage(model, EMA_DECAY)

    def set_rate(self, lr: float, warm: float, done: float) -> None:
        """Set the learning rate of the next step: linear warm-up times half a cosine.

        Args:
            lr: Peak learning rate.
            warm: Part of the warm-up that is done, above 1 after it.
            done: Part of the training that is done.
        """
        rate = lr * min(1.0, warm)
        rate *= 0.5 * (1 + math.cos(math.pi * done))
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def step(self, batch: Batch) -> Tensor:
        """Take one step of the optimiser; return the loss, detached."""
        value = self.loss(self.model, batch)
        self.optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
        self.optimizer.step()
        self.average.update_parameters(self.model)
        return value.detach()


def train(
    model: nn.Module, data: GraphDataModule, loss: Loss, lr: float, steps: int
) -> Training:
    """Train for a number of steps; return the averaged model and what was done.

    AdamW with decay on matrices; linear warm-up over a twentieth of the steps times
    half a cosine over all of them. The clock counts all CPU time of the process from
    the first batch to the last step: collating batches, finding neighbours, averaging.
    """
    done = Training(model, steps=steps)
    done.warmup_steps = max(1, round(WARMUP_FRACTION * steps))
    stepper = Stepper(model, loss, lr)
    recent: list[Tensor] = []
    start = time.process_time()
    for index, batch in zip(range(steps), endless(data), strict=False):
        stepper.set_rate(lr, (index + 1) / done.warmup_steps, index / steps)
        recent.append(stepper.step(batch))
        done.molecules += batch.num_graphs
        if index + 1 >= steps * (len(done.curve) + 1) / 20:
            done.cpu_seconds = time.process_time() - start
            mean = float(torch.stack(recent).mean())
            done.curve.append((index + 1, mean))
            recent.clear()
            speed = done.molecules / max(done.cpu_seconds, 1e-9)
            say(
                f"step {index + 1} of {steps}, {done.cpu_seconds:.0f} s, "
                f"loss {mean:.4f}, {speed:.0f} molecules/s"
            )
    done.cpu_seconds = time.process_time() - start
    done.epochs = done.molecules / len(data.train)
    done.model = stepper.average.module
    return done


def endless(data: GraphDataModule) -> Iterator[Batch]:
    """Yield training batches, in a new order every epoch."""
    epoch = 0
    while True:
        loader = data.train_dataloader()
        loader.sampler.set_epoch(epoch)
        yield from loader
        epoch += 1


def one_thread() -> None:
    """Compute on one thread, and keep freed memory: the same for all models.

    Numbers below 1e-38 count as zero: Gaussians of distances far from their centre are
    such numbers, and some processors need a hundred cycles for each, which makes SchNet
    and the Equivariant Transformer several times slower.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    keep_freed_memory()


def say(text: str) -> None:
    """Write one line of progress."""
    print(f"    {text}", flush=True)
