"""A sum over neighbours with a radial filter per channel, along rows of edges."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from molflt.nn.kernels.build import over_rows
from molflt.nn.rows import Edges, Rows, TableGradient
from molflt.nn.spectrum import distance
from molflt.nn.table import Table, evaluate

ROWS = 4096  # rows that share one sum of the table's gradient


def filter_sums(values: Float[Tensor, "n c"], edges: Edges) -> Float[Tensor, "n c"]:
    """Return sum_j K_c(r_ij) v_jc, K the functions of the table.

    Differentiable by values, displacements and table, any number of times; only the
    second time needs memory for all edges.
    """
    out: Tensor = _FilterSums.apply(
        values, edges.delta, edges.table, edges.rows, edges.cutoff
    )
    return out


class _FilterSums(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        delta: Tensor,
        table: Table,
        rows: Rows,
        cutoff: float,
    ) -> Tensor:
        ctx.save_for_backward(values, delta, table)
        ctx.rows, ctx.cutoff = rows, cutoff
        return _sums(values.contiguous(), Edges(rows, delta, table, cutoff))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        values, delta, table = ctx.saved_tensors
        edges = Edges(ctx.rows, delta, table, ctx.cutoff)
        if torch.is_grad_enabled():
            # Views: one of these may be a function of another.
            own = [t.view_as(t) for t in ctx.saved_tensors]
            wanted = [t for t in own if t.requires_grad]
            edges = Edges(ctx.rows, own[1], own[2], ctx.cutoff)
            out = _differentiable(own[0], edges, 0, len(values))
            found = iter(
                torch.autograd.grad(
                    out, wanted, grad, create_graph=True, materialize_grads=True
                )
            )
            own = [next(found) if t.requires_grad else None for t in own]
            return (*own, None, None)
        wants_table = ctx.needs_input_grad[2]
        slopes = _gradients(values.contiguous(), edges, grad.contiguous(), wants_table)
        return (*slopes, None, None)


def _sums(values: Tensor, edges: Edges) -> Tensor:
    compiled = edges.compiled("filter", CHANNELS=values.shape[1])
    if compiled is None:
        blocks = edges.blocks(0, len(values))
        parts = [_differentiable(values, edges, *block) for block in blocks]
        return torch.cat(parts) if parts else torch.zeros_like(values)
    out = torch.empty_like(values)
    run, fixed = compiled("filter_sums"), (*edges.plain(), values)
    over_rows(lambda a, b: run(a, b, *fixed, out[a:b]), 0, len(values))
    return out


def _gradients(
    values: Tensor, edges: Edges, grad: Tensor, wants_table: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the gradients by values, displacements and table."""
    compiled = edges.compiled("filter", CHANNELS=values.shape[1])
    moved = torch.zeros_like(edges.delta)
    table = TableGradient(edges.table) if wants_table else None
    out = torch.empty_like(values)
    if compiled is None:
        for a, b in edges.blocks(0, len(values)):
            out[a:b] = _torch_gradients(values, edges, grad, a, b, moved, table)
    else:
        run, fixed = compiled("filter_gradients"), (*edges.plain(), values, grad)

        def block(a: int, b: int) -> None:
            run(a, b, *fixed, out[a:b], moved, None if table is None else table.own())

        for begin in range(0, len(values), ROWS):
            over_rows(block, begin, min(begin + ROWS, len(values)))
            if table is not None:
                table.collect()
    return out, moved, None if table is None else table.total.to(values.dtype)


def _differentiable(values: Tensor, edges: Edges, begin: int, end: int) -> Tensor:
    """Return the sums of some rows by operations that torch differentiates."""
    part = edges.part(begin, end)
    r = distance(edges.delta[part.pair])
    messages = evaluate(edges.table, edges.cutoff, r) * values[part.sender]
    out = messages.new_zeros(end - begin, values.shape[1])
    return out.index_add(0, part.receiver, messages)


def _torch_gradients(
    values: Tensor,
    edges: Edges,
    grad: Tensor,
    begin: int,
    end: int,
    grad_delta: Tensor,
    table: TableGradient | None,
) -> Tensor:
    """Differentiate the messages to these rows and those from them."""
    part = edges.part(begin, end)
    here, there = part.receiver, part.sender
    with torch.enable_grad():
        own, knots, delta = (
            t.detach().requires_grad_(True)
            for t in (values[begin:end], edges.table, edges.delta[part.pair])
        )
        kernels = evaluate(knots, edges.cutoff, distance(delta))
        total = (grad[begin:end][here] * kernels * values[there]).sum()
        total = total + (grad[there] * kernels * own[here]).sum()
        found = torch.autograd.grad(total, (own, knots, delta))
    along = part.sign > 0
    grad_delta[part.pair[along]] = found[2][along]
    if table is not None:
        table.total += found[1] / 2  # each edge is met in two rows
    return found[0]
