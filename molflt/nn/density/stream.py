"""Density features of large systems: numbers of one block of atoms at a time.

An atom has thousands of numbers. Forward, a block's are made, become its features and
are forgotten. Backward, they are made again; kept of all atoms are the gradients of P
and A alone, because that of a displacement needs both of its ends.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from molflt.nn.edges.rows import Rows
from molflt.nn.pairs import Pairs
from molflt.nn.parameter_gradients import (
    ParameterGradients,
    differentiable_gradients,
    leaf,
    refuse_other_parameters,
)
from molflt.typing import NodeScalars

if TYPE_CHECKING:
    from molflt.nn.density.features import DensityFeatures

Blocks = list[tuple[slice, list[int]]]


def stream_features(
    features: "DensityFeatures",
    row: Tensor,
    counts: list[list[int]],
    size: int,
    pairs: Pairs,
) -> NodeScalars:
    """Return what `DensityFeatures.features` does of all atoms, block by block.

    Args:
        features: The features.
        row: Which of the elements each atom is (n,).
        counts: How many atoms of each element, and of others, are in each block.
        size: Atoms in a block; the last one may have less.
        pairs: Neighbours.
    """
    blocks = [
        (slice(number * size, number * size + sum(own)), own)
        for number, own in enumerate(counts)
    ]
    out: Tensor = _Stream.apply(
        *(features, row, blocks, pairs.rows(len(row)), pairs.delta.contiguous()),
        *features.first.parameters(),
    )
    return out


class _Stream(torch.autograd.Function):
    """(displacements, parameters) -> features (n, c)."""

    @staticmethod
    def forward(
        ctx: Any,
        features: "DensityFeatures",
        row: Tensor,
        blocks: Blocks,
        rows: Rows,
        delta: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        # Parameters, too: whether they are changed in between, autograd then tells.
        ctx.save_for_backward(delta, *parameters)
        ctx.fixed, ctx.parameters = (features, row, blocks, rows), parameters
        found = []
        for own, counts in blocks:
            sums = features.density.of_rows(row, rows, delta, own.start, own.stop)
            found.append(features.features(row[own], counts, *sums))
        return torch.cat(found)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        delta, *_ = ctx.saved_tensors
        refuse_other_parameters(list(ctx.fixed[0].first.parameters()), ctx.parameters)
        run = _twice if torch.is_grad_enabled() else _once
        return (None, None, None, None, *run(ctx, delta, grad))


def _once(ctx: Any, delta: Tensor, grad: Tensor) -> list[Tensor | None]:
    """Return gradients that are not differentiated themselves."""
    features, row, blocks, rows = ctx.fixed
    learned = ParameterGradients(ctx.parameters)
    grads: list[Tensor] = []
    for own, counts in blocks:
        sums = features.density.of_rows(row, rows, delta, own.start, own.stop)
        if not grads:
            grads = [part.new_empty(len(row), *part.shape[1:]) for part in sums]
        leaves: list[Tensor | None] = [leaf(part) for part in sums]
        with torch.enable_grad():
            out = features.features(row[own], counts, *leaves)
        slopes = learned.differentiate([out], [grad[own]], leaves)
        for target, value in zip(grads, slopes, strict=True):
            target[own] = value
    moved = None
    if delta.requires_grad:
        moved = features.density.slopes(row, rows, delta, grads)
    return [moved, *learned.gradients]


def _twice(ctx: Any, delta: Tensor, grad: Tensor) -> list[Tensor | None]:
    """Return gradients that can be differentiated, of all atoms in one piece."""
    whole = _Whole(*ctx.fixed)
    return differentiable_gradients(whole, [delta], ctx.parameters, [grad])


class _Whole(nn.Module):
    """The features of all atoms in one piece, differentiable any number of times.

    Args:
        features: The features.
        row: Which of the elements each atom is.
        blocks: Atoms, and how many of each element, of each block.
        rows: Neighbours.
    """

    def __init__(
        self, features: "DensityFeatures", row: Tensor, blocks: Blocks, rows: Rows
    ) -> None:
        super().__init__()
        self.features, self.row, self.rows = features, row, rows
        self.counts = [sum(own) for own in zip(*(c for _, c in blocks), strict=True)]

    def forward(self, delta: Tensor) -> tuple[Tensor]:
        """Return the features (n, c)."""
        sums = self.features.density.differentiable(self.row, self.rows, delta)
        return (self.features.features(self.row, self.counts, *sums),)
