"""Averaged weights."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


class RisingAverage(AveragedModel):
    """Exponential moving average of a model's weights, with a rising decay.

        average_(s+1) = d_s average_s + (1 - d_s) w_(s+1)
        d_s           = min(d, (1 + s) / (10 + s)),  d_0 = 0

    The rising d_s forgets the random start, so that the first validations already mean
    something. Buffers (references, normalisers) are constants and are not averaged: an
    average in floating point would let them drift and truncate integers. How many steps
    were averaged is known to the host: torch's own update waits for a GPU at each step.

    Source of the rise: TensorFlow's ExponentialMovingAverage(num_updates).

    Args:
        model: The model, which is copied.
        decay: The limit d.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model)
        self._decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move the average towards the weights of a model; the first time, to them."""
        done = int(self.n_averaged)
        decay = min(self._decay, (1 + done) / (10 + done)) if done else 0.0
        sides = self.module.parameters(), model.parameters()
        average, current = ([p.detach() for p in side] for side in sides)
        torch._foreach_lerp_(average, current, 1.0 - decay)
        self.n_averaged += 1
