"""Losses on normalised targets and their derivatives."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from molflt.errors import MolfltError, UsageError

LossName = Literal["l1", "mse", "huber", "log"]

Loss = LossName | nn.Module | Callable[[Tensor, Tensor], Tensor]
"""One of `LOSSES` by name, or any function of predictions and labels, value by value.

It returns the shape that it is given, as the losses of torch do with ``reduction:
none``.
"""

LOG_SCALE = 0.04
"""Size [std] of the errors from which on the loss ``log`` grows more slowly."""


def log_loss(predictions: Tensor, labels: Tensor) -> Tensor:
    """Return s log(1 + |e| / s), s = `LOG_SCALE`: |e| for small errors, log |e| beyond.

    Structures that are far off, as those that relax to another minimum, pull less than
    with |e|, and those close to their label more: what EwT counts.

    Args:
        predictions: Predictions, of any shape.
        labels: Labels of the same shape.
    """
    error = (predictions - labels).abs()
    return LOG_SCALE * torch.log1p(error / LOG_SCALE)


LOSSES: dict[LossName, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": partial(F.l1_loss, reduction="none"),
    "mse": partial(F.mse_loss, reduction="none"),
    # Quadratic below one standard deviation of the target, linear above.
    "huber": partial(F.huber_loss, reduction="none"),
    "log": log_loss,
}


def loss_values(loss: Loss, predictions: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of each value, in the shape of the predictions.

    Raises:
        UsageError: A loss of one's own returns another shape.
    """
    known = LOSSES[loss] if isinstance(loss, str) else loss
    values: Tensor = known(predictions, labels)
    if values.shape != predictions.shape:
        raise UsageError(
            f"model.loss must return a value for each of {len(predictions)} values, "
            f"not the shape {tuple(values.shape)}; losses of torch do with "
            "reduction: none."
        )
    return values


def refuse_not_finite(loss: Tensor, step: int) -> None:
    """End a training whose loss is no number any more.

    Raises:
        MolfltError: Names the step.
    """
    if not loss.isfinite():
        raise MolfltError(
            f"The loss is {loss.item()} at step {step}; a lower model.lr or "
            "trainer.gradient_clip_val may help."
        )


def multi_target_loss(
    loss: Loss,
    predictions: dict[str, Tensor],
    labels: dict[str, Tensor],
    weights: Mapping[str, float] | None = None,
) -> Tensor:
    """Sum over targets of the weighted mean loss over structures with a label.

        L = sum_t w_t (1 / g_t) sum_i loss(y^_ti - y_ti)

    with loss(e) = |e| (``l1``), e^2 (``mse``), Huber's loss with delta = 1 (``huber``)
    or s log(1 + |e| / s) (``log``). Each target is in units of its own standard
    deviation, so that with w_t = 1 all weigh the same.

    Args:
        loss: Which loss.
        predictions: For each target, shape (g,), normalised.
        labels: The same keys and shapes, NaN where there is no label.
        weights: w_t by target, pure numbers; 1 where there is none.
    """
    weights = weights or {}
    # Also where a weight is 0: several processes wait for gradients of all readouts.
    terms = [
        weights.get(target, 1.0) * _label_loss(loss, value, labels[target])
        for target, value in predictions.items()
    ]
    return sum(terms[1:], start=terms[0])


def _label_loss(loss: Loss, prediction: Tensor, label: Tensor) -> Tensor:
    """Return the mean loss over structures that have a label; 0 without any."""
    known = ~label.isnan()
    # No NaN may come near the prediction: its gradient would be one, too.
    values = loss_values(loss, prediction, label.where(known, prediction))
    return _mean(values, known)


def vector_loss(
    loss: Loss, error: Float[Tensor, "n k"], kept: Bool[Tensor, " n"] | None = None
) -> Tensor:
    """Mean over the kept rows of the loss of their length, loss(|e_i|).

    The length of an error, unlike its components, does not depend on how the
    structure is turned. Its derivative at 0 is 0. Without a kept row the loss is 0.

    Args:
        loss: Which loss.
        error: Rows e_i.
        kept: Rows that count; None: all.
    """
    length = torch.linalg.vector_norm(error, dim=1)
    values = loss_values(loss, length, torch.zeros_like(length))
    if kept is None:
        return values.mean()
    return _mean(values, kept)


def _mean(values: Float[Tensor, " n"], kept: Bool[Tensor, " n"]) -> Tensor:
    """Return the mean of those kept; 0 without any."""
    return (values * kept).sum() / kept.sum().clamp(min=1)
