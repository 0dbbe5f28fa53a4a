"""Gradients of what is evaluated one block of atoms after the other."""

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


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
            torch.zeros_like(given) if slope is None and given is not None else slope
            for slope, given in zip(slopes, leaves, strict=True)
        ]


def refuse_other_parameters(now: Sequence[Tensor], before: Sequence[Tensor]) -> None:
    """Refuse a backward pass with other parameters than those of the forward pass.

    Raises:
        RuntimeError: Some were replaced in between.
    """
    if len(now) != len(before) or any(map(operator.is_not, now, before)):
        raise RuntimeError(
            "parameters of a layer were replaced between forward and backward (by "
            "torch.func.functional_call?), and a large system is evaluated again in "
            "the backward pass; load them into the module instead"
        )


def differentiable_gradients(
    whole: nn.Module,
    inputs: Sequence[Tensor | None],
    parameters: Sequence[nn.Parameter],
    grads: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """Return gradients of inputs and parameters that can be differentiated themselves.

    Args:
        whole: All blocks in one piece, by operations that torch differentiates; returns
            a tuple.
        inputs: Its inputs.
        parameters: Some of its parameters.
        grads: Gradients of what it returns.
    """
    # Views: inputs may be functions of parameters or of each other, and what is wanted
    # are the derivatives of this piece alone.
    own = [None if t is None else t.view_as(t) for t in inputs]
    learned = [p.view_as(p) for p in parameters]
    known = {id(p): view for p, view in zip(parameters, learned, strict=True)}
    named = {n: known[id(p)] for n, p in whole.named_parameters() if id(p) in known}
    out = torch.func.functional_call(whole, named, tuple(own))
    wanted: list[Any] = [t for t in [*own, *learned] if wants(t)]
    pairs = [(o, g) for o, g in zip(out, grads, strict=True) if o is not None]
    found = iter(
        torch.autograd.grad(
            [o for o, _ in pairs],
            wanted,
            [g for _, g in pairs],
            create_graph=True,
            materialize_grads=True,
        )
    )
    return [next(found) if wants(t) else None for t in [*own, *learned]]


def leaf(tensor: Tensor) -> Tensor:
    """Return a tensor by which can be differentiated."""
    return tensor.detach().requires_grad_(True)


def wants(tensor: Tensor | None) -> bool:
    """Whether a gradient is asked for."""
    return tensor is not None and tensor.requires_grad
