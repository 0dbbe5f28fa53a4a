"""The norm of vector features, as one function for autograd."""

from typing import Any

import torch
from torch import Tensor

from molflt.typing import NodeVectors


def vector_norm(values: NodeVectors) -> NodeVectors:
    """Return V / sqrt(1 + mean_c |V_c|^2): bounded, equivariant, smooth at V = 0."""
    out: NodeVectors = _VectorNorm.apply(values)
    return out


def _scale(rows: Tensor, width: int) -> Tensor:
    """Return s = 1 / sqrt(1 + |V|^2 / c) of rows (n, 3 c), as (n, 1)."""
    square = torch.linalg.vecdot(rows, rows).unsqueeze(1)
    return (square / width + 1).rsqrt()


class _VectorNorm(torch.autograd.Function):
    """V -> s V, with the gradient s (G - V s^2 <G, V> / c).

    Autograd alone makes five arrays of the size of V for it, and these take longer than
    the products around them.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        rows = values.flatten(1)
        scale = _scale(rows, values.shape[2])
        ctx.save_for_backward(values, scale)
        return (rows * scale).view_as(values)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        values, scale = ctx.saved_tensors
        width, rows, given = values.shape[2], values.flatten(1), grad.flatten(1)
        if torch.is_grad_enabled():  # for second derivatives it is a function of V
            scale = _scale(rows, width)
        along = torch.linalg.vecdot(given, rows).unsqueeze(1) * scale.square() / -width
        return (torch.addcmul(given, rows, along) * scale).view_as(values)
