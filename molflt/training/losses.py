"""Losses on normalised targets, mean over the structures of a batch."""

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

LossName = Literal["l1", "mse", "huber"]

LOSSES: dict[LossName, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "mse": F.mse_loss,
    # Quadratic below one standard deviation of the target, linear above.
    "huber": F.huber_loss,
}


def multi_target_loss(
    name: LossName, predictions: dict[str, Tensor], labels: dict[str, Tensor]
) -> Tensor:
    r"""Sum over targets of the mean loss over structures.

    .. math:: L = \sum_t \frac{1}{g} \sum_i \ell(\hat y_{ti} - y_{ti})

    with :math:`\ell(e) = |e|` (``l1``), :math:`e^2` (``mse``) or Huber's loss with
    :math:`\delta = 1` (``huber``). Targets weigh the same because each is in units of
    its own standard deviation.

    Args:
        name: Which loss.
        predictions: For each target, shape (g,), normalised.
        labels: The same keys and shapes.
    """
    loss = LOSSES[name]
    terms = [loss(predictions[target], labels[target]) for target in predictions]
    return sum(terms[1:], start=terms[0])
