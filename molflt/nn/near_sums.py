"""Sums of near heads over all neighbours at once, as one function for autograd."""

from typing import Any

import torch
from torch import Tensor

from molflt.nn.near_rows import Atoms, HeadSizes, NearRows, Vectors
from molflt.nn.rows import Edges, Rows, TableGradient
from molflt.nn.table import Table


def near_sums(
    atoms: Atoms, vectors: Vectors | None, edges: Edges, sizes: HeadSizes
) -> tuple[Tensor, ...]:
    """Return what all atoms receive: (n, h d), and (n, 3, h e) and (n, 5, h w) or less.

    Differentiable by numbers, vectors, displacements and table, any number of times;
    only the second time needs memory for all edges.

    Args:
        atoms: Numbers that atoms send, `NearAttention.packed`.
        vectors: Vector values V of all atoms, or None.
        edges: Edges with the table of all K_hl, `NearAttention.edges`.
        sizes: Sizes of the heads.
    """
    # Not inside the function: what it saves must be what it was given.
    vectors = None if vectors is None else vectors.contiguous()
    out: tuple[Tensor, ...] = _NearSums.apply(
        sizes, edges.rows, edges.cutoff, atoms, vectors, edges.delta, edges.table
    )
    return out


class _NearSums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        sizes: HeadSizes,
        rows: Rows,
        cutoff: float,
        atoms: Tensor,
        vectors: Tensor | None,
        delta: Tensor,
        table: Table,
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(atoms, vectors, delta, table)
        ctx.sizes, ctx.rows, ctx.cutoff = sizes, rows, cutoff
        near = NearRows(Edges(rows, delta, table, cutoff), sizes)
        return tuple(near.sums(atoms, vectors, 0, len(atoms)))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        run = _twice if torch.is_grad_enabled() else _once
        return (None, None, None, *run(ctx, ctx.saved_tensors, grads))


def _once(
    ctx: Any, saved: tuple[Any, ...], grads: tuple[Tensor, ...]
) -> list[Tensor | None]:
    """Return gradients that are not differentiated themselves."""
    atoms, vectors, delta, table = saved
    near = NearRows(Edges(ctx.rows, delta, table, ctx.cutoff), ctx.sizes)
    packed = near.packed_gradients(len(atoms), atoms)
    near.put(packed, grads)
    moved = torch.zeros_like(delta) if ctx.needs_input_grad[5] else None
    knots = TableGradient(table) if ctx.needs_input_grad[6] else None
    out, turned = near.gradients(atoms, vectors, packed, 0, len(atoms), moved, knots)
    total = None if knots is None else knots.total.to(table.dtype)
    return [out, turned, moved, total]


def _twice(
    ctx: Any, saved: tuple[Any, ...], grads: tuple[Tensor, ...]
) -> list[Tensor | None]:
    """Return gradients that can be differentiated; holds arrays of all edges."""
    # Views: some of these may be functions of others, and what is wanted are the
    # derivatives of the sums alone.
    own = [None if t is None else t.view_as(t) for t in saved]
    atoms, vectors, delta, table = own
    assert atoms is not None
    assert delta is not None
    assert table is not None
    near = NearRows(Edges(ctx.rows, delta, table, ctx.cutoff), ctx.sizes)
    out = near.differentiable(atoms, vectors, 0, len(atoms))
    wanted = [t for t in own if t is not None and t.requires_grad]
    found = iter(
        torch.autograd.grad(
            out, wanted, grads, create_graph=True, materialize_grads=True
        )
    )
    return [next(found) if t is not None and t.requires_grad else None for t in own]
