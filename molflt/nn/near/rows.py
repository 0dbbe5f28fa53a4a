"""Sums of near heads over rows of edges, and their gradients.

Here heads are the fastest axis of what atoms send, and there may be more of them than
the attention has: as many as fill the processor's registers. Those that are added have
values and kernels of zero.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from molflt.nn.angular import COMPONENTS, directions
from molflt.nn.edges.rows import Edges, Functions, TableGradient, compiled
from molflt.nn.edges.table import evaluate
from molflt.nn.kernels.build import over_rows
from molflt.nn.parameter_gradients import leaf
from molflt.nn.spectra.spectrum import distance


class HeadSizes(NamedTuple):
    """Number of heads and widths of one; without vectors or matrices they are 0."""

    heads: int
    query: int
    scalars: int
    vectors: int = 0
    matrices: int = 0

    @property
    def values(self) -> list[int]:
        """Channels of v, v' and v'' that there are."""
        return [size for size in self[2:] if size]

    @property
    def filled(self) -> int:
        """Heads with those that are added: a power of two, or a multiple of 8."""
        if self.heads > 8:
            return -(-self.heads // 8) * 8
        return 1 << (self.heads - 1).bit_length()

    @property
    def width(self) -> int:
        """Numbers an atom has: q, k and all values of all heads."""
        return self.filled * (2 * self.query + sum(self.values))

    def compiled(self, like: Tensor, *, is_dual: bool = False) -> Functions | None:
        """Return the compiled loops for heads of these sizes; None without them."""
        named = {name.upper(): size for name, size in self._asdict().items()}
        named |= {"HEADS": self.filled, "WRITTEN": self.heads, "DUAL": int(is_dual)}
        return compiled(like, "near", **named)

    def packed(self, rows: Tensor) -> Tensor:
        """Return rows (heads, size, ...) as (size, filled, ...), those added zero.

        First axes are flattened, as in weights of a linear map.
        """
        rows = rows.unflatten(0, (self.heads, -1))
        missing = self.filled - self.heads
        if missing:
            rows = torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])])
        return rows.transpose(0, 1).flatten(0, 1)


Atoms = Float[Tensor, "n f *dual"]
"""q (query, heads), k (query, heads), v (·, heads), v' and v'' side by side."""

Vectors = Float[Tensor, "n 3 u *dual"]
"""Values V (n, 3, · heads), heads fastest."""


class NearRows:
    """Sums of near heads along rows: scalars, vectors and matrices of `NearAttention`.

    Args:
        edges: Edges with the table of all K_hl (l, filled heads), heads fastest.
        sizes: Sizes of the heads.
        is_dual: All numbers come with a derivative (..., 2), `molflt.nn.edges.sums`;
            compiled loops alone know them.
    """

    def __init__(
        self, edges: Edges, sizes: HeadSizes, *, is_dual: bool = False
    ) -> None:
        self.edges, self.sizes, self.is_dual = edges, sizes, is_dual
        self._compiled = sizes.compiled(edges.delta, is_dual=is_dual)

    def sums(
        self, atoms: Atoms, vectors: Vectors | None, begin: int, end: int
    ) -> list[Tensor]:
        """Return what rows begin to end receive: (r, h d), (r, 3, h e), (r, 5, h w)."""
        if self._compiled is None:
            parts = [
                self.differentiable(atoms, vectors, *block)
                for block in self.edges.blocks(begin, end)
            ]
            return [torch.cat(part) for part in zip(*parts, strict=True)]
        out = self.empty(end - begin, atoms)
        run = self._compiled("near_sums")
        fixed = (*self.edges.arguments, atoms, vectors)

        def block(first: int, last: int) -> None:
            own = [part[first - begin : last - begin] for part in out]
            run(first, last, *fixed, *own, *(None,) * (3 - len(own)))

        over_rows(block, begin, end)
        return out

    def empty(self, rows: int, like: Tensor) -> list[Tensor]:
        """Return arrays for what `rows` rows receive."""
        return [like.new_empty(shape) for shape in self._shapes(rows, self.sizes.heads)]

    def packed_gradients(self, rows: int, like: Tensor) -> list[Tensor]:
        """Return zeros for gradients of what `rows` rows receive, to be `put` there."""
        shapes = self._shapes(rows, self.sizes.filled)
        return [like.new_zeros(shape) for shape in shapes]

    def put(self, target: Sequence[Tensor], grads: Sequence[Tensor]) -> None:
        """Write gradients of sums of some rows where `gradients` reads them.

        Args:
            target: These rows of `packed_gradients`.
            grads: Gradients by what `sums` returned for these rows.
        """
        h, filled = self.sizes.heads, self.sizes.filled
        for place, grad in zip(target, grads, strict=True):
            heads_last = grad.unflatten(-1, (h, -1)).transpose(-1, -2)
            place.unflatten(-1, (-1, filled))[..., :h] = heads_last

    def _shapes(self, rows: int, heads: int) -> list[tuple[int, ...]]:
        sizes = self.sizes.values
        shapes: list[tuple[int, ...]] = [(rows, heads * sizes[0])]
        parts = zip(COMPONENTS[1:], sizes[1:], strict=False)
        shapes += [(rows, components, heads * size) for components, size in parts]
        return [(*shape, 2) for shape in shapes] if self.is_dual else shapes

    def gradients(
        self,
        atoms: Atoms,
        vectors: Vectors | None,
        grads: Sequence[Tensor],
        begin: int,
        end: int,
        grad_delta: Float[Tensor, "p 3 *dual"] | None,
        table: TableGradient | None,
    ) -> tuple[Float[Tensor, "r f *dual"], Float[Tensor, "r 3 u *dual"] | None]:
        """Return gradients of the numbers and vectors of rows begin to end.

        Args:
            atoms: Numbers of all atoms.
            vectors: Vector values V of all atoms.
            grads: Gradients of all sums of all atoms, as `put` writes them.
            begin: First row.
            end: Row after the last.
            grad_delta: Zeros that take the gradients of displacements, of a pair once.
                None: they are not wanted.
            table: Takes what the rows add to the gradient of the table, or None.
        """
        if self._compiled is None:
            parts = [
                self._torch_gradients(atoms, vectors, grads, *block, grad_delta, table)
                for block in self.edges.blocks(begin, end)
            ]
            first, second = zip(*parts, strict=True)
            moved = None if vectors is None else torch.cat(second)
            return torch.cat(first), moved
        run = self._compiled("near_gradients")
        out = atoms.new_empty(end - begin, *atoms.shape[1:])
        moved = None
        if vectors is not None:
            moved = vectors.new_empty(end - begin, *vectors.shape[1:])
        fixed = (*self.edges.arguments, atoms, vectors)
        fixed += (*grads, *(None,) * (3 - len(grads)))

        def block(first: int, last: int) -> None:
            own = slice(first - begin, last - begin)
            run(
                *(first, last, *fixed, out[own]),
                *(None if moved is None else moved[own], grad_delta),
                None if table is None else table.own(),
            )

        over_rows(block, begin, end)
        if table is not None:
            table.collect()
        return out, moved

    def differentiable(
        self, atoms: Atoms, vectors: Vectors | None, begin: int, end: int
    ) -> list[Tensor]:
        """Return what `sums` does, by operations that torch differentiates."""
        part = self.edges.rows.part(begin, end)
        delta = self.edges.delta[part.pair] * part.sign.unsqueeze(1)
        r = distance(delta)
        messages = self._messages(
            atoms[begin:end][part.receiver],
            atoms[part.sender],
            None if vectors is None else vectors[part.sender],
            delta,
            evaluate(self.edges.table, self.edges.cutoff, r),
        )
        rows = end - begin
        return [
            m.new_zeros(rows, *m.shape[1:]).index_add(0, part.receiver, m)
            for m in messages
        ]

    def _torch_gradients(
        self,
        atoms: Atoms,
        vectors: Vectors | None,
        grads: Sequence[Tensor],
        begin: int,
        end: int,
        grad_delta: Float[Tensor, "p 3"] | None,
        table: TableGradient | None,
    ) -> tuple[Float[Tensor, "r f"], Float[Tensor, "r 3 u"] | None]:
        """Differentiate the messages to these rows and those from them.

        Both end in <gradient, message>. Of the first, what depends on the receivers is
        of these rows, of the second what depends on the senders.
        """
        edges, part = self.edges, self.edges.rows.part(begin, end)
        with torch.enable_grad():
            own = leaf(atoms[begin:end])
            mine = None if vectors is None else leaf(vectors[begin:end])
            delta = leaf(edges.delta[part.pair] * part.sign.unsqueeze(1))
            knots = leaf(edges.table)
            kernels = evaluate(knots, edges.cutoff, distance(delta))
            here, there = part.receiver, part.sender
            others = None if vectors is None else vectors[there]
            to = self._messages(own[here], atoms[there], others, delta, kernels)
            moved = None if mine is None else mine[here]
            away = self._messages(atoms[there], own[here], moved, -delta, kernels)
            # The other numbers of these atoms (k and v to them, q from them) are not
            # theirs to count: those edges are met again in the other atom's row.
            total = delta.new_zeros(())
            for grad, one, two in zip(self._unpacked(grads), to, away, strict=True):
                total = total + (grad[begin:end][here] * one).sum()
                total = total + (grad[there] * two).sum()
            wanted = [own, delta, knots] + ([] if mine is None else [mine])
            found = torch.autograd.grad(total, wanted, materialize_grads=True)
        if grad_delta is not None:
            part.add_once(grad_delta, found[1])
        if table is not None:
            table.total += found[2] / 2  # each edge is met in two rows
        return found[0], (None if mine is None else found[3])

    def _unpacked(self, grads: Sequence[Tensor]) -> list[Tensor]:
        """Return gradients as `sums` returns sums: what `put` was given."""
        h, filled = self.sizes.heads, self.sizes.filled
        return [
            grad.unflatten(-1, (-1, filled))[..., :h].transpose(-1, -2).flatten(-2)
            for grad in grads
        ]

    def _messages(
        self,
        receiver: Float[Tensor, "e f"],
        sender: Float[Tensor, "e f"],
        vectors: Float[Tensor, "e 3 u"] | None,
        delta: Float[Tensor, "e 3"],
        kernels: Float[Tensor, "e k"],
    ) -> list[Tensor]:
        """Return the message of each edge: scalars, vectors and matrices."""
        h, query, all_heads = self.sizes.heads, self.sizes.query, self.sizes.filled
        widths = [size * all_heads for size in (query, query, *self.sizes.values)]
        q, *_ = receiver.split(widths, dim=1)
        q, _, k, *values = (
            part.unflatten(1, (-1, all_heads))[..., :h]
            for part in (q, *sender.split(widths, dim=1))
        )
        weight = (q * k).sum(1)  # (e, h)
        kernels = kernels.unflatten(1, (-1, all_heads))[..., :h]
        radials = (kernels * weight.unsqueeze(1)).unbind(1)
        angles = directions(delta, distance(delta), len(values) - 1)
        out = []
        for order, (radial, angle, value) in enumerate(
            zip(radials, angles, values, strict=True)
        ):
            message = (radial.unsqueeze(1) * value).transpose(1, 2).flatten(1)
            message = angle.T.unsqueeze(2) * message.unsqueeze(1)
            if order == 1 and vectors is not None:
                given = vectors.unflatten(2, (-1, all_heads))[..., :h]
                moved = radials[0].view(-1, 1, 1, h) * given
                message = message + moved.transpose(2, 3).flatten(2)
            out.append(message.squeeze(1) if order == 0 else message)
        return out
