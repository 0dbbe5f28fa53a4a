"""Displacements of pairs as a linear map of positions and cells, a block at a time."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from molflt.typing import GraphIndex

BLOCK = 2**20  # pairs at once: intermediate results stay below 100 MB


class PairIndex(NamedTuple):
    """Which atoms and images make pairs.

    Args:
        first: Atom i of each pair (p,).
        second: Atom j of each pair (p,).
        shift: Lattice vectors (p, 3) by which the image of j is moved; None: none.
        batch: Graph of each atom (n,).
    """

    first: Int[Tensor, " p"]
    second: Int[Tensor, " p"]
    shift: Int[Tensor, "p 3"] | None
    batch: GraphIndex

    def blocks(self) -> Iterator["PairIndex"]:
        """Yield the pairs in blocks."""
        for at in range(0, max(len(self.first), 1), BLOCK):
            own = slice(at, at + BLOCK)
            shift = None if self.shift is None else self.shift[own]
            yield PairIndex(self.first[own], self.second[own], shift, self.batch)


def displacements(
    pos: Float[Tensor, "n 3"],
    cell: Float[Tensor, "g 3 3"] | None,
    pairs: PairIndex,
    dtype: torch.dtype,
) -> Float[Tensor, "p 3"]:
    """Return D = r_i - r_j - shift @ cell [Å], computed as wide as `pos` is.

    Args:
        pos: Positions [Å].
        cell: Lattice vectors as rows [Å]; None: no pair is shifted.
        pairs: The pairs.
        dtype: Type of the result.
    """
    out: Tensor = _Displacements.apply(pos, cell, pairs, dtype)
    return out


class _Displacements(torch.autograd.Function):
    """The map; its transpose is `_Transposed`, so that every derivative is right."""

    @staticmethod
    def forward(
        ctx: Any, pos: Tensor, cell: Tensor | None, pairs: PairIndex, dtype: torch.dtype
    ) -> Tensor:
        ctx.pairs, ctx.dtype = pairs, pos.dtype
        ctx.sizes = len(pos), None if cell is None else len(cell)
        out = pos.new_empty(len(pairs.first), 3, dtype=dtype)
        for part, rows in zip(pairs.blocks(), out.split(BLOCK), strict=True):
            delta = pos[part.first] - pos[part.second]
            if cell is not None and part.shift is not None:
                delta -= _shifts(part, cell)
            rows.copy_(delta)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        found = _Transposed.apply(grad, ctx.pairs, ctx.sizes, ctx.dtype)
        return (*found, None, None)


class _Transposed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        grad: Tensor,
        pairs: PairIndex,
        sizes: tuple[int, int | None],
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor | None]:
        ctx.pairs, ctx.dtype = pairs, grad.dtype
        num_atoms, num_cells = sizes
        pos = grad.new_zeros(num_atoms, 3, dtype=dtype)
        cell = None
        if num_cells is not None:
            cell = grad.new_zeros(num_cells, 3, 3, dtype=dtype)
        for part, rows in zip(pairs.blocks(), grad.split(BLOCK), strict=True):
            wide = rows.to(dtype)
            pos.index_add_(0, part.first, wide)
            pos.index_add_(0, part.second, wide, alpha=-1)
            if cell is not None and part.shift is not None:
                _add_shifts(part, wide, cell)
        return pos, cell

    @staticmethod
    def backward(
        ctx: Any, pos: Tensor, cell: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        return _Displacements.apply(pos, cell, ctx.pairs, ctx.dtype), None, None, None


def _shifts(part: PairIndex, cell: Tensor) -> Tensor:
    """Return shift @ cell of each pair (p, 3)."""
    assert part.shift is not None
    shift = part.shift.to(cell.dtype)
    if len(cell) == 1:
        return shift @ cell[0]
    return torch.einsum("pi,pix->px", shift, cell[part.batch[part.first]])


def _add_shifts(part: PairIndex, grad: Tensor, cell: Tensor) -> None:
    """Subtract the outer products of shifts and gradients from each graph's cell."""
    assert part.shift is not None
    shift = part.shift.to(cell.dtype)
    if len(cell) == 1:
        cell[0] -= shift.T @ grad
        return
    outer = shift.unsqueeze(2) * grad.unsqueeze(1)
    cell.index_add_(0, part.batch[part.first], outer, alpha=-1)
