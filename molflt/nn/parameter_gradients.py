"""Gradients of parameters that act on one block of atoms after the other."""

from typing import Any

import torch
from torch import Tensor


class ParameterGradients:
    """Gradients of parameters, summed over blocks."""

    def __init__(self, parameters: tuple[Tensor, ...]) -> None:
        self._parameters = parameters
        self.gradients: list[Tensor | None] = [None] * len(parameters)

    def differentiate(
        self, outputs: Any, grads: Any, leaves: list[Tensor | None]
    ) -> list[Any]:
        """Return gradients by the leaves; add those by the parameters."""
        pairs = [
            (out, grad)
            for out, grad in zip(outputs, grads, strict=True)
            if out is not None
        ]
        wanted: list[Any] = [t for t in [*leaves, *self._parameters] if wants(t)]
        found = iter(
            torch.autograd.grad(
                [out for out, _ in pairs],
                wanted,
                [grad for _, grad in pairs],
                allow_unused=True,
            )
        )
        slopes = [next(found) if wants(t) else None for t in leaves]
        for index, parameter in enumerate(self._parameters):
            value = next(found) if wants(parameter) else None
            if value is not None:
                known = self.gradients[index]
                self.gradients[index] = value if known is None else known.add_(value)
        return [
            torch.zeros_like(leaf) if slope is None and leaf is not None else slope
            for slope, leaf in zip(slopes, leaves, strict=True)
        ]


def wants(tensor: Tensor | None) -> bool:
    """Whether a gradient is asked for."""
    return tensor is not None and tensor.requires_grad
