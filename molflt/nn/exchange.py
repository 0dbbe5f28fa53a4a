"""What processes that hold one system's atoms between them tell each other.

Each process differentiates its own part L_r of a sum L = sum_r L_r over processes. The
transpose of a sum over processes is then the same sum of gradients; copies of rows send
theirs back to where they came from, where they are added. What all processes find by
some quantity adds up to the derivative of L.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor


class Ranks:
    """Sums over all processes of a group, and rows that they give each other.

    Every process calls the same methods in the same order, with rows of equal width.

    Args:
        group: The processes, a `torch.distributed.ProcessGroup`.
        most: Rows of the process that has most of its own.
        sent: Rows that other processes need (s,), sorted by receiver.
        num_sent: How many of them each process gets.
        num_received: How many rows each process gives.
    """

    def __init__(
        self,
        group: Any,
        most: int,
        sent: Int[Tensor, " s"],
        num_sent: Sequence[int],
        num_received: Sequence[int],
    ) -> None:
        self.group, self.most, self.sent = group, most, sent
        self.num_sent, self.num_received = list(num_sent), list(num_received)

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of `values`, real or complex, of all processes."""
        if values.is_complex():
            return torch.view_as_complex(self.total(torch.view_as_real(values)))
        out: Tensor = _Total.apply(values, self.group)
        return out

    def exchanged(self, rows: Float[Tensor, "s f"]) -> Float[Tensor, "r f"]:
        """Return the rows that the other processes send here, sorted by process.

        Args:
            rows: Those at `sent`.
        """
        out: Tensor = _Exchange.apply(
            rows, self.num_sent, self.num_received, self.group
        )
        return out


class _Total(torch.autograd.Function):
    """A sum over processes, which is its own transpose."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, group: Any) -> Tensor:
        ctx.group = group
        out = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(out, group=group)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _Total.apply(grad, ctx.group), None


class _Exchange(torch.autograd.Function):
    """Rows that change places; in its transpose they go back."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, num_sent: list[int], num_received: list[int], group: Any
    ) -> Tensor:
        ctx.arguments = num_received, num_sent, group
        out = rows.new_empty(sum(num_received), rows.shape[1])
        dist.all_to_all_single(
            out, rows.contiguous(), num_received, num_sent, group=group
        )
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _Exchange.apply(grad, *ctx.arguments), None, None, None
