"""A layer for large systems: rows of edges and atoms in blocks, nothing kept for them.

Forward, per layer: (1) what every atom sends, block by block; (2) for each block of
receivers, sums over their edges and their update. Backward, from x and V alone: (1)
again; (2) per block the sums again, gradients of the update and of the sums; (3) per
block the gradients along the edges, of what atoms send, and of x and V. Memory is a
constant per atom and per pair, whatever happens within a block.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from molflt.nn.blocks import block_atoms
from molflt.nn.edges.rows import Edges, Rows, TableGradient
from molflt.nn.geometry import Geometry
from molflt.nn.heads import Path
from molflt.nn.near.rows import NearRows
from molflt.nn.near.sums import near_sums
from molflt.nn.parameter_gradients import (
    ParameterGradients,
    differentiable_gradients,
    leaf,
    refuse_other_parameters,
)
from molflt.typing import NodeScalars, NodeVectors

if TYPE_CHECKING:
    from molflt.nn.layer import FLTLayer

ATOMS = 4096  # of a block, a thread: some megabytes, which processors keep close by
MOST_ATOMS = 32768  # of a block: memory does not grow with the number of threads


def stream_layer(
    layer: "FLTLayer",
    x: NodeScalars,
    vec: NodeVectors | None,
    geometry: Geometry,
    path: Path,
) -> tuple[NodeScalars, NodeVectors | None]:
    """Return what `layer` does, block by block.

    Args:
        layer: A layer with near heads.
        x: Scalar features (n, c).
        vec: Vector features (n, 3, w), or None.
        geometry: Places and neighbour pairs.
        path: How far heads are evaluated.
    """
    heads = layer.masked
    assert geometry.pairs is not None
    edges = layer.near.edges(geometry.pairs, len(x))
    far: tuple[Tensor | None, ...] = (None, None)
    if heads.far is not None:
        far = tuple(heads.far(layer.norm(x), geometry, path))
    fixed = (layer, edges.rows, edges.cutoff)
    out = _Stream.apply(
        *fixed, x, vec, *far, edges.delta, edges.table, *_parameters(layer)
    )
    return out[0], (None if vec is None else out[1])


def streamed_modules(layer: "FLTLayer") -> list[nn.Module]:
    """Return all that is called within blocks, and again in the backward pass."""
    heads, near = layer.masked, layer.near
    modules = [layer.norm, layer.update_norm, layer.mlp, layer.vector_pair]
    modules += [heads.mix, heads.vector_in, heads.vector_mix]
    modules += [near.project, near.contract]
    return [module for module in modules if module is not None]


def _parameters(layer: "FLTLayer") -> list[nn.Parameter]:
    return [p for module in streamed_modules(layer) for p in module.parameters()]


def _blocks(x: Tensor) -> Iterator[slice]:
    size = block_atoms(ATOMS, MOST_ATOMS, x.device)
    for at in range(0, len(x), size):
        yield slice(at, min(at + size, len(x)))


def _rows_of(tensors: Sequence[Tensor | None], rows: slice) -> list[Any]:
    return [None if t is None else t[rows] for t in tensors]


class _Stream(torch.autograd.Function):
    """(x, V, far messages, displacements, table, parameters) -> (x, V)."""

    @staticmethod
    def forward(
        ctx: Any,
        layer: "FLTLayer",
        rows: Rows,
        cutoff: float,
        x: Tensor,
        vec: Tensor | None,
        far_scalars: Tensor | None,
        far_vectors: Tensor | None,
        delta: Tensor,
        table: Tensor,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor]:
        # Parameters, too: whether they are changed in between, autograd then tells.
        ctx.save_for_backward(
            x, vec, far_scalars, far_vectors, delta, table, *parameters
        )
        ctx.layer, ctx.rows, ctx.cutoff = layer, rows, cutoff
        ctx.parameters = parameters
        near = NearRows(Edges(rows, delta, table, cutoff), layer.near.sizes)
        atoms, vectors = _send_all(layer, x, vec)
        out, moved = torch.empty_like(x), x.new_empty(0)
        if vec is not None:
            moved = torch.empty_like(vec)
        for own in _blocks(x):
            sums = near.sums(atoms, vectors, own.start, own.stop)
            given = _rows_of([x, vec, far_scalars, far_vectors], own)
            out[own], turned = layer.receive(sums, *given)
            if turned is not None:
                moved[own] = turned
        return out, moved

    @staticmethod
    def backward(ctx: Any, grad: Tensor, grad_vec: Tensor) -> tuple[Tensor | None, ...]:
        saved = list(ctx.saved_tensors)[: -len(ctx.parameters)]
        refuse_other_parameters(_parameters(ctx.layer), ctx.parameters)
        grads = [grad, None if saved[1] is None else grad_vec]
        run = _twice if torch.is_grad_enabled() else _once
        return (None, None, None, *run(ctx, saved, grads))


def _send_all(
    layer: "FLTLayer", x: Tensor, vec: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Return what all atoms send (n, ·), and their vectors (n, 3, ·) or None."""
    atoms, vectors = None, None
    for own in _blocks(x):
        part, turned = layer.send(x[own], None if vec is None else vec[own])
        if atoms is None:
            atoms = part.new_empty(len(x), *part.shape[1:])
            if turned is not None:
                vectors = turned.new_empty(len(x), *turned.shape[1:])
        atoms[own] = part
        if vectors is not None and turned is not None:
            vectors[own] = turned
    assert atoms is not None
    return atoms, vectors


def _once(
    ctx: Any, saved: list[Tensor | None], grads: list[Tensor | None]
) -> list[Tensor | None]:
    """Return gradients that are not differentiated themselves."""
    x, vec, far_scalars, far_vectors, delta, table = saved
    layer, parameters = ctx.layer, ctx.parameters
    assert x is not None
    assert delta is not None
    assert table is not None
    near = NearRows(Edges(ctx.rows, delta, table, ctx.cutoff), layer.near.sizes)
    learned = ParameterGradients(parameters)
    given = [x, vec, far_scalars, far_vectors]
    found = [None if t is None else torch.empty_like(t) for t in given]
    atoms, vectors = _send_all(layer, x, vec)
    grad_sums = near.packed_gradients(len(x), x)
    for own in _blocks(x):
        sums = near.sums(atoms, vectors, own.start, own.stop)
        leaves = [None if t is None else leaf(t) for t in _rows_of(given, own)]
        parts = [leaf(t) for t in sums]
        with torch.enable_grad():
            out = layer.receive(parts, *leaves)
        slopes = learned.differentiate(out, _rows_of(grads, own), [*leaves, *parts])
        for target, value in zip(found, slopes[: len(found)], strict=True):
            if target is not None:
                target[own] = value
        near.put([part[own] for part in grad_sums], slopes[len(found) :])
    moved = torch.zeros_like(delta) if delta.requires_grad else None
    knots = TableGradient(table) if table.requires_grad else None
    for own in _blocks(x):
        sent = near.gradients(
            atoms, vectors, grad_sums, own.start, own.stop, moved, knots
        )
        leaves = [None if t is None else leaf(t) for t in _rows_of([x, vec], own)]
        with torch.enable_grad():
            out = layer.send(*leaves)
        slopes = learned.differentiate(out, sent, leaves)
        for target, value in zip(found[:2], slopes, strict=True):
            if target is not None:
                target[own] += value
    total = None if knots is None else knots.total.to(table.dtype)
    return [*found, moved, total, *learned.gradients]


def _twice(
    ctx: Any, saved: list[Tensor | None], grads: list[Tensor | None]
) -> list[Tensor | None]:
    """Return gradients that can be differentiated, of the layer in one piece."""
    whole = _Whole(ctx.layer, ctx.rows, ctx.cutoff)
    return differentiable_gradients(whole, saved, ctx.parameters, grads)


class _Whole(nn.Module):
    """A layer in one piece, by operations that torch differentiates.

    Args:
        layer: The layer.
        rows: Its edges.
        cutoff: Last knot of the table.
    """

    def __init__(self, layer: "FLTLayer", rows: Rows, cutoff: float) -> None:
        super().__init__()
        self.layer, self.rows, self.cutoff = layer, rows, cutoff

    def forward(
        self,
        x: Tensor,
        vec: Tensor | None,
        far_scalars: Tensor | None,
        far_vectors: Tensor | None,
        delta: Tensor,
        table: Tensor,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the features after the layer."""
        edges = Edges(self.rows, delta, table, self.cutoff)
        sums = near_sums(*self.layer.send(x, vec), edges, self.layer.near.sizes)
        return self.layer.receive(sums, x, vec, far_scalars, far_vectors)
