"""A sum over neighbours with a radial filter per channel, along rows of edges."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from molflt.nn.edges.rows import Edges, Functions, Rows, TableGradient, compiled
from molflt.nn.edges.sums import EdgeSums, Inputs, dual
from molflt.nn.edges.table import evaluate
from molflt.nn.kernels.build import over_rows
from molflt.nn.parameter_gradients import leaf
from molflt.nn.spectra.spectrum import distance

ROWS = 4096  # rows that share one sum of the table's gradient


def filter_kernels(
    like: Tensor, channels: int, *, is_dual: bool = False
) -> Functions | None:
    """Return the compiled loops for so many channels; None without them."""
    return compiled(like, "filter", CHANNELS=channels, DUAL=int(is_dual))


def filter_sums(values: Float[Tensor, "n c"], edges: Edges) -> Float[Tensor, "n c"]:
    """Return sum_j K_c(r_ij) v_jc, K the functions of the table.

    Differentiable by values, displacements and table, any number of times.
    """
    # Not inside the function: what it saves must be what it was given.
    values = values.contiguous()
    (out,) = _FilterSums(edges, values)(values, edges.delta, edges.table)
    return out


class _FilterSums(EdgeSums):
    """Functions of values, displacements and table."""

    def __init__(self, edges: Edges, values: Tensor) -> None:
        self._rows: Rows = edges.rows
        self._cutoff, self._channels = edges.cutoff, values.shape[1]
        self._compiled = filter_kernels(values, self._channels) is not None

    @property
    def is_compiled(self) -> bool:
        return self._compiled

    def sums(self, inputs: Inputs) -> tuple[Tensor, ...]:
        return (self._run(inputs),)

    def _run(self, inputs: Inputs, *, is_dual: bool = False) -> Tensor:
        values, delta, table = inputs
        assert values is not None
        if not self._compiled:
            return self.differentiable(inputs)[0]
        out = torch.empty_like(values)
        run, fixed = self._function("filter_sums", delta, table, is_dual=is_dual)
        over_rows(lambda a, b: run(a, b, *fixed, values, out[a:b]), 0, len(values))
        return out

    def _function(self, name: str, delta: Any, table: Any, *, is_dual: bool) -> Any:
        """Return a compiled function and what describes the edges to it."""
        kernels = filter_kernels(delta, self._channels, is_dual=is_dual)
        assert kernels is not None
        edges = Edges(self._rows, delta, table, self._cutoff)
        return kernels(name), edges.arguments

    def gradients(
        self, inputs: Inputs, grads: Sequence[Tensor], wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        return self._slopes(inputs, grads[0].contiguous(), wanted[2])

    def _slopes(
        self, inputs: Inputs, grad: Tensor, wants_table: bool, *, is_dual: bool = False
    ) -> list[Tensor | None]:
        values, delta, table = inputs
        assert values is not None
        assert delta is not None
        assert table is not None
        moved, out = torch.zeros_like(delta), torch.empty_like(values)
        knots = TableGradient(table) if wants_table else None
        if not self._compiled:
            edges = Edges(self._rows, delta, table, self._cutoff)
            for a, b in edges.blocks(0, len(values)):
                out[a:b] = _torch_gradients(values, edges, grad, a, b, moved, knots)
            return [out, moved, None if knots is None else knots.total.to(table.dtype)]
        run, fixed = self._function("filter_gradients", delta, table, is_dual=is_dual)

        def block(a: int, b: int) -> None:
            own = None if knots is None else knots.own()
            run(a, b, *fixed, values, grad, out[a:b], moved, own)

        for begin in range(0, len(values), ROWS):
            over_rows(block, begin, min(begin + ROWS, len(values)))
            if knots is not None:
                knots.collect()
        return [out, moved, None if knots is None else knots.total.to(table.dtype)]

    def derivatives(
        self, inputs: Inputs, along: Inputs, grads: Sequence[Tensor]
    ) -> tuple[list[Tensor | None], list[Tensor]]:
        both = [dual(t, tangent) for t, tangent in zip(inputs, along, strict=True)]
        slopes = self._slopes(both, dual(grads[0]), True, is_dual=True)
        tangents = [None if t is None else t[..., 1] for t in slopes]
        return tangents, [self._run(both, is_dual=True)[..., 1]]

    def differentiable(self, inputs: Inputs) -> Sequence[Tensor]:
        values, delta, table = inputs
        assert values is not None
        assert delta is not None
        assert table is not None
        edges = Edges(self._rows, delta, table, self._cutoff)
        parts = [
            _block(values, edges, *block) for block in edges.blocks(0, len(values))
        ]
        return [torch.cat(parts) if parts else torch.zeros_like(values)]


def _block(values: Tensor, edges: Edges, begin: int, end: int) -> Tensor:
    """Return the sums of some rows by operations that torch differentiates."""
    part = edges.rows.part(begin, end)
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
    part = edges.rows.part(begin, end)
    here, there = part.receiver, part.sender
    with torch.enable_grad():
        given = values[begin:end], edges.table, edges.delta[part.pair]
        own, knots, delta = map(leaf, given)
        kernels = evaluate(knots, edges.cutoff, distance(delta))
        total = (grad[begin:end][here] * kernels * values[there]).sum()
        total = total + (grad[there] * kernels * own[here]).sum()
        found = torch.autograd.grad(total, (own, knots, delta))
    part.add_once(grad_delta, found[2])
    if table is not None:
        table.total += found[1] / 2  # each edge is met in two rows
    return found[0]
