"""Densities of the neighbours around each atom, element by element."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from molflt.nn.angular import directions
from molflt.nn.cutoff import Cutoff
from molflt.nn.density.gaussians import FIRST, RadialGaussians
from molflt.nn.edges.rows import Functions, Rows, compiled
from molflt.nn.edges.sums import EdgeSums, Inputs, dual
from molflt.nn.edges.table import shell_table
from molflt.nn.kernels.build import over_rows
from molflt.nn.pairs import Pairs
from molflt.nn.parameter_gradients import leaf
from molflt.nn.spectra.spectrum import distance

SPACING = 0.22  # Å between the Gaussians of single neighbours
TRIPLE_SPACING = 0.47  # Å between those of pairs of neighbours
BLOCK = 4096  # atoms whose edges are in memory at once, without compiled loops

Densities = tuple[Float[Tensor, "n e p"], Float[Tensor, "n m c"]]


class NeighbourDensity(nn.Module):
    r"""Sums over the neighbours of each element, of distance and of direction.

        P_ien  = sum_(j of element e) c(r_ij) G_n(r_ij)
        A_imen = sum_(j of element e) c'(r_ij) H_n(r_ij) Y_m(D_ij)

    with G_n and H_n `RadialGaussians`, Y_m the `directions` up to an order, c and c'
    the cutoffs.

    Args:
        elements: How many elements.
        order: Largest order of the directions.
        cutoff: Cutoff function of P.
        triple_cutoff: Cutoff function of A; not longer.
    """

    def __init__(
        self, elements: int, order: int, cutoff: Cutoff, triple_cutoff: Cutoff
    ) -> None:
        super().__init__()
        self.elements, self.order = elements, order
        self.cutoff, self.triple_cutoff = cutoff, triple_cutoff
        self.single = _gaussians(cutoff, SPACING)
        self.triple = _gaussians(triple_cutoff, TRIPLE_SPACING)
        self._tables: dict[tuple[torch.dtype, bool], list[Tensor]] = {}

    def forward(self, row: Int[Tensor, " n"], pairs: Pairs) -> Densities:
        """Return P (n, e, G) and A (n, m, e H), elements before Gaussians.

        Differentiable by the displacements, any number of times.

        Args:
            row: Which of the elements each atom is; their number for others.
            pairs: Neighbours.
        """
        delta = pairs.delta.contiguous()
        return self.differentiable(row, pairs.rows(len(row)), delta)

    def differentiable(self, row: Tensor, rows: Rows, delta: Tensor) -> Densities:
        """Return what `forward` does, from rows and displacements of the pairs."""
        if self.functions(delta) is None:
            return self.by_torch(row, rows, delta)
        single, triple = _Compiled(self, rows, row)(delta)
        return single, triple

    @torch.no_grad()
    def of_rows(
        self, row: Tensor, rows: Rows, delta: Tensor, begin: int, end: int
    ) -> Densities:
        """Return what `forward` does, of the atoms begin to end.

        Args:
            row: Which of the elements each atom is; their number for others.
            rows: Neighbours of all atoms.
            delta: Displacements of the pairs (p, 3).
            begin: First atom.
            end: The atom behind the last one.
        """
        if self.functions(delta) is not None:
            single, triple = _Compiled(self, rows, row).of_rows(delta, begin, end)
            return single, triple
        return self._block(row, rows, delta, begin, end)

    def slopes(
        self, row: Tensor, rows: Rows, delta: Tensor, grads: Sequence[Tensor]
    ) -> Float[Tensor, "p 3"]:
        """Return the gradient of the displacements, from those of P and A."""
        if self.functions(delta) is not None:
            return _Compiled(self, rows, row).slopes(delta, grads)
        total = torch.zeros_like(delta)
        for begin, end in _blocks(len(row)):
            moving = leaf(delta)
            with torch.enable_grad():
                found = self._block(row, rows, moving, begin, end)
            own = [grad[begin:end] for grad in grads]
            total += torch.autograd.grad(found, moving, own)[0]
        return total

    def functions(self, like: Tensor, *, is_dual: bool = False) -> Functions | None:
        """Return the compiled loops for such numbers; None without them."""
        sizes = {"ELEMENTS": self.elements, "ORDER": self.order, "DUAL": int(is_dual)}
        sizes["SINGLE"] = self.single.num_components
        sizes["TRIPLE"] = self.triple.num_components
        return compiled(like, "density", **sizes)

    def tables(self, dtype: torch.dtype, *, is_dual: bool = False) -> list[Tensor]:
        """Return c G_n and c' H_n as splines; they never change."""
        key = dtype, is_dual
        if key not in self._tables:
            tables = [
                shell_table(radial, cutoff, dtype).to(dtype).contiguous()
                for radial, cutoff in (
                    (self.single, self.cutoff),
                    (self.triple, self.triple_cutoff),
                )
            ]
            self._tables[key] = [dual(t) for t in tables] if is_dual else tables
        return self._tables[key]

    def by_torch(self, row: Tensor, rows: Rows, delta: Tensor) -> Densities:
        """Return what `forward` does, by torch's operations on blocks of atoms."""
        blocks = _blocks(len(row))
        found = []
        for begin, end in blocks:
            args = row, rows, delta, begin, end
            if len(blocks) > 1 and delta.requires_grad:  # edges are made once more
                found.append(checkpoint(self._block, *args, use_reentrant=False))
            else:
                found.append(self._block(*args))
        if not found:
            found = [self._block(row, rows, delta, 0, 0)]
        single, triple = (torch.cat(parts) for parts in zip(*found, strict=True))
        return single, triple

    def _block(
        self, row: Tensor, rows: Rows, delta: Tensor, begin: int, end: int
    ) -> Densities:
        """Return the sums of some atoms.

        The neighbours of an atom are a row of a table, so that sums over them are
        products of matrices; atoms of a block have similar numbers of neighbours.
        """
        # Mixed precision would lose what tells one neighbourhood from another.
        with torch.autocast(delta.device.type, enabled=False):
            return self._sums(row, rows, delta, begin, end)

    def _sums(
        self, row: Tensor, rows: Rows, delta: Tensor, begin: int, end: int
    ) -> Densities:
        part = rows.part(begin, end)
        delta = delta[part.pair] * part.sign.unsqueeze(1)
        r = distance(delta)
        kinds = torch.eye(self.elements + 1, dtype=r.dtype, device=r.device)
        kind = kinds[row[part.sender], :-1]  # (e, elements), a row of 0 for others
        single = (self.single(r) * self.cutoff(r)).T
        triple = (self.triple(r) * self.triple_cutoff(r)).T
        triple = (kind.unsqueeze(2) * triple.unsqueeze(1)).flatten(1)
        turned = torch.cat(directions(delta, r, self.order)).T
        columns = [kind, single, turned, triple]
        start = rows.start[begin : end + 1]
        ends = rows.ends[begin : end + 1]
        width = int(ends.diff().max()) if len(part.receiver) else 0
        first = (start - start[:1])[part.receiver]
        place = torch.arange(len(r), device=r.device) - first
        table = torch.cat(columns, dim=1)
        table = table.new_zeros((end - begin) * width, table.shape[1]).index_copy(
            0, part.receiver * width + place, table
        )
        table = table.unflatten(0, (end - begin, width))
        kind, single, turned, triple = table.split([c.shape[1] for c in columns], 2)
        return kind.transpose(1, 2) @ single, turned.transpose(1, 2) @ triple


class _Compiled(EdgeSums):
    """P and A as functions of the displacements, by compiled loops."""

    is_compiled = True

    def __init__(self, density: NeighbourDensity, rows: Rows, row: Tensor) -> None:
        self._of, self._rows, self._kind = density, rows, row.int().contiguous()

    def sums(self, inputs: Inputs) -> tuple[Tensor, ...]:
        return self.of_rows(inputs[0], 0, len(self._kind))

    def of_rows(
        self, delta: Any, begin: int, end: int, *, is_dual: bool = False
    ) -> tuple[Tensor, ...]:
        """Return P and A of the atoms begin to end."""
        density, count = self._of, end - begin
        numbers = delta.shape[2:]  # of a dual number
        single = delta.new_empty(
            count, density.elements, density.single.num_components, *numbers
        )
        channels = density.elements * density.triple.num_components
        parts = (density.order + 1) ** 2
        triple = delta.new_empty(count, parts, channels, *numbers)
        run, fixed = self._function("density_sums", delta, is_dual=is_dual)
        over_rows(
            lambda a, b: run(
                a,
                b,
                *fixed,
                single[a - begin : b - begin],
                triple[a - begin : b - begin],
            ),
            begin,
            end,
        )
        return single, triple

    def _function(self, name: str, delta: Tensor, *, is_dual: bool) -> Any:
        """Return a compiled function and what describes the edges to it."""
        functions = self._of.functions(delta, is_dual=is_dual)
        assert functions is not None
        fixed: list[Any] = [*self._rows.arguments, delta, self._kind]
        cutoffs = self._of.cutoff, self._of.triple_cutoff
        tables = self._of.tables(delta.dtype, is_dual=is_dual)
        for table, cutoff in zip(tables, cutoffs, strict=True):
            fixed += [table, len(table) - 1, float(cutoff.cutoff)]
        return functions(name), fixed

    def gradients(
        self, inputs: Inputs, grads: Sequence[Tensor], wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        return [self.slopes(inputs[0], grads)]

    def slopes(
        self, delta: Any, grads: Sequence[Tensor], *, is_dual: bool = False
    ) -> Tensor:
        """Return the gradient of the displacements."""
        out = torch.zeros_like(delta)
        run, fixed = self._function("density_gradients", delta, is_dual=is_dual)
        given = [grad.contiguous() for grad in grads]
        over_rows(lambda a, b: run(a, b, *fixed, *given, out), 0, len(self._kind))
        return out

    def derivatives(
        self, inputs: Inputs, along: Inputs, grads: Sequence[Tensor]
    ) -> tuple[list[Tensor | None], list[Tensor]]:
        delta = dual(inputs[0], along[0])
        slopes = self.slopes(delta, [dual(grad) for grad in grads], is_dual=True)
        sums = self.of_rows(delta, 0, len(self._kind), is_dual=True)
        return [slopes[..., 1]], [part[..., 1].contiguous() for part in sums]

    def differentiable(self, inputs: Inputs) -> Sequence[Tensor]:
        (delta,) = inputs
        assert delta is not None
        return self._of.by_torch(self._kind.long(), self._rows, delta)


def _blocks(count: int) -> list[tuple[int, int]]:
    return [(begin, min(begin + BLOCK, count)) for begin in range(0, count, BLOCK)]


def _gaussians(cutoff: Cutoff, spacing: float) -> RadialGaussians:
    room = cutoff.cutoff - FIRST
    return RadialGaussians(max(1, round(room / spacing)), cutoff.cutoff)
