"""Sums over edges as functions that autograd differentiates to any order.

With L = <G, sums(X)> for gradients G of the sums, the first derivatives are the
gradient of L. A gradient of theirs, along C, is that of d/de L(X + e C): by X the
derivative of the gradient along C, by G that of the sums. Both are what the same loops
give for dual numbers X + e C.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Inputs = Sequence[Tensor | None]


class EdgeSums(ABC):
    """Sums over edges as functions of some tensors, by compiled loops and by torch."""

    @property
    @abstractmethod
    def is_compiled(self) -> bool:
        """Whether there are compiled loops, and so `derivatives`."""

    @abstractmethod
    def sums(self, inputs: Inputs) -> tuple[Tensor, ...]:
        """Return the sums, without arrays of all edges."""

    @abstractmethod
    def gradients(
        self, inputs: Inputs, grads: Sequence[Tensor], wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """Return the gradients of the inputs, None where they are not wanted.

        Without arrays of all edges.

        Args:
            inputs: The tensors.
            grads: Gradients of the sums.
            wanted: Which gradients are wanted.
        """

    @abstractmethod
    def derivatives(
        self, inputs: Inputs, along: Inputs, grads: Sequence[Tensor]
    ) -> tuple[list[Tensor | None], list[Tensor]]:
        """Return what gradients and sums change by when the inputs move.

        By compiled loops.

        Args:
            inputs: The tensors.
            along: How they move.
            grads: Gradients of the sums, which stay.
        """

    @abstractmethod
    def differentiable(self, inputs: Inputs) -> Sequence[Tensor]:
        """Return the sums, by operations of torch on arrays of all edges."""

    def __call__(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        """Return the sums.

        Only third derivatives, and second ones without compiled loops, need memory for
        arrays of all edges.
        """
        out: tuple[Tensor, ...] = _Sums.apply(self, *inputs)
        return out


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, of: EdgeSums, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        ctx.of = of
        ctx.save_for_backward(*inputs)
        return of.sums(inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        wanted = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled():
            return None, *_Gradients.apply(ctx.of, wanted, *ctx.saved_tensors, *grads)
        return None, *ctx.of.gradients(ctx.saved_tensors, grads, wanted)


class _Gradients(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, of: EdgeSums, wanted: tuple[bool, ...], *given: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        ctx.of, ctx.wanted = of, wanted
        ctx.save_for_backward(*given)
        inputs, grads = given[: len(wanted)], given[len(wanted) :]
        return tuple(of.gradients(inputs, [g for g in grads if g is not None], wanted))

    @staticmethod
    def backward(ctx: Any, *along: Tensor | None) -> tuple[Tensor | None, ...]:
        count = len(ctx.wanted)
        inputs, grads = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        if torch.is_grad_enabled() or not ctx.of.is_compiled:
            return None, None, *_again(ctx, inputs, grads, along)
        moved, sums = ctx.of.derivatives(inputs, along, grads)
        return None, None, *moved, *sums


def _again(ctx: Any, inputs: Inputs, grads: Inputs, along: Inputs) -> list[Any]:
    """Return second derivatives by torch, which can be differentiated themselves."""
    anew = torch.is_grad_enabled()
    with torch.enable_grad():
        return _second(ctx, inputs, grads, along, create_graph=anew)


def _second(
    ctx: Any, inputs: Inputs, grads: Inputs, along: Inputs, *, create_graph: bool
) -> list[Any]:
    # Views: some of these may be functions of others, and what is wanted are the
    # derivatives of the sums alone.
    own = [None if t is None else t.view_as(t) for t in (*inputs, *grads)]
    count = len(inputs)
    pairs = [
        (given, direction)
        for given, wanted, direction in zip(own, ctx.wanted, along, strict=False)
        if wanted and given is not None and direction is not None
    ]
    first = torch.autograd.grad(
        ctx.of.differentiable(own[:count]),
        [given for given, _ in pairs],
        own[count:],
        create_graph=True,
        materialize_grads=True,
    )
    leaves = [t for t in own if t is not None and t.requires_grad]
    found = iter(
        torch.autograd.grad(
            first,
            leaves,
            [direction for _, direction in pairs],
            create_graph=create_graph,
            materialize_grads=True,
        )
    )
    return [next(found) if t is not None and t.requires_grad else None for t in own]


def dual(value: Tensor | None, tangent: Tensor | None = None) -> Any:
    """Return numbers with their derivatives (..., 2), as compiled loops read them.

    Args:
        value: The numbers; None: nothing.
        tangent: Their derivatives; None: 0.
    """
    if value is None:
        return None
    tangent = torch.zeros_like(value) if tangent is None else tangent
    return torch.stack([value, tangent], dim=-1)
