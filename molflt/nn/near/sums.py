"""Sums of near heads over all neighbours at once, as one function for autograd."""

from collections.abc import Sequence

import torch
from torch import Tensor

from molflt.nn.edges.rows import Edges, Rows, TableGradient
from molflt.nn.edges.sums import EdgeSums, Inputs, dual
from molflt.nn.near.rows import Atoms, HeadSizes, NearRows, Vectors


def near_sums(
    atoms: Atoms, vectors: Vectors | None, edges: Edges, sizes: HeadSizes
) -> tuple[Tensor, ...]:
    """Return what all atoms receive: (n, h d), and (n, 3, h e) and (n, 5, h w) or less.

    Differentiable by numbers, vectors, displacements and table, any number of times.

    Args:
        atoms: Numbers that atoms send, `NearAttention.sent`.
        vectors: Vector values V of all atoms, or None.
        edges: Edges with the table of all K_hl, `NearAttention.edges`.
        sizes: Sizes of the heads.
    """
    # Not inside the function: what it saves must be what it was given.
    vectors = None if vectors is None else vectors.contiguous()
    sums = _NearSums(edges.rows, edges.cutoff, sizes, edges.delta)
    return sums(atoms, vectors, edges.delta, edges.table)


class _NearSums(EdgeSums):
    """Functions of numbers, vectors, displacements and table."""

    def __init__(self, rows: Rows, cutoff: float, sizes: HeadSizes, like: Tensor):
        self._rows, self._cutoff, self._sizes = rows, cutoff, sizes
        self._compiled = sizes.compiled(like) is not None

    @property
    def is_compiled(self) -> bool:
        return self._compiled

    def _near(self, inputs: Inputs, *, is_dual: bool = False) -> NearRows:
        *_, delta, table = inputs
        assert delta is not None
        assert table is not None
        edges = Edges(self._rows, delta, table, self._cutoff)
        return NearRows(edges, self._sizes, is_dual=is_dual)

    def sums(self, inputs: Inputs) -> tuple[Tensor, ...]:
        atoms, vectors, *_ = inputs
        assert atoms is not None
        return tuple(self._near(inputs).sums(atoms, vectors, 0, len(atoms)))

    def gradients(
        self, inputs: Inputs, grads: Sequence[Tensor], wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        atoms, vectors, delta, table = inputs
        assert atoms is not None
        assert delta is not None
        assert table is not None
        near = self._near(inputs)
        packed = near.packed_gradients(len(atoms), atoms)
        near.put(packed, grads)
        moved = torch.zeros_like(delta) if wanted[2] else None
        knots = TableGradient(table) if wanted[3] else None
        out, turned = near.gradients(
            atoms, vectors, packed, 0, len(atoms), moved, knots
        )
        total = None if knots is None else knots.total.to(table.dtype)
        return [out, turned, moved, total]

    def derivatives(
        self, inputs: Inputs, along: Inputs, grads: Sequence[Tensor]
    ) -> tuple[list[Tensor | None], list[Tensor]]:
        plain = self._near(inputs)
        packed = plain.packed_gradients(len(grads[0]), grads[0])
        plain.put(packed, grads)
        both = [dual(t, tangent) for t, tangent in zip(inputs, along, strict=True)]
        atoms, vectors, delta, table = both
        near = self._near(both, is_dual=True)
        sums = near.sums(atoms, vectors, 0, len(atoms))
        moved, knots = torch.zeros_like(delta), TableGradient(table)
        fixed = [dual(part) for part in packed]
        out, turned = near.gradients(atoms, vectors, fixed, 0, len(atoms), moved, knots)
        found = [out, turned, moved, knots.total.to(table.dtype)]
        tangents = [None if t is None else t[..., 1] for t in found]
        return tangents, [part[..., 1] for part in sums]

    def differentiable(self, inputs: Inputs) -> Sequence[Tensor]:
        atoms, vectors, *_ = inputs
        assert atoms is not None
        return self._near(inputs).differentiable(atoms, vectors, 0, len(atoms))
