"""Directed edges sorted by receiver, and sums over them without arrays of edges.

Each sum has two forms with the same values: compiled (`molflt.nn.kernels`) and of
torch's operations. The second takes over where there is no compiler or the tensors are
not on a CPU, and where a sum is differentiated twice.
"""

import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from molflt.graph.host import segment_count
from molflt.nn.edges.table import Table
from molflt.nn.kernels.build import load

TORCH_EDGES = 2**15  # edges whose messages torch holds at once


Functions = Callable[[str], Callable[..., None]]
"""Compiled functions by name."""


class Rows(NamedTuple):
    """What each atom receives, atom by atom.

    Args:
        start: First edge of each atom, and the number of all edges (n + 1,).
        sender: Atom at the other end (e,), int32.
        half: Twice the number of the pair, plus one where the edge runs against its
            direction (e,), int32.
        ends: `start` on the host, which cuts rows into blocks.
    """

    start: Int[Tensor, " n1"]
    sender: Int[Tensor, " e"]
    half: Int[Tensor, " e"]
    ends: Int[Tensor, " n1"]

    @property
    def arguments(self) -> tuple[Tensor, Tensor, Tensor]:
        """The arguments of compiled loops that describe the rows."""
        return self.start, self.sender, self.half

    def part(self, begin: int, end: int) -> "Part":
        """Return the edges of rows begin to end as arrays."""
        first, last = int(self.ends[begin]), int(self.ends[end])
        counts = self.start[begin : end + 1].diff()
        half = self.half[first:last].long()
        local = torch.arange(end - begin, device=half.device)
        return Part(
            local.repeat_interleave(counts, output_size=last - first),
            self.sender[first:last].long(),
            half >> 1,
            1 - 2 * (half & 1),
        )


def sorted_rows(
    first: Int[Tensor, " p"], second: Int[Tensor, " p"], num_atoms: int
) -> Rows:
    """Return both directions of each pair, sorted by receiver.

    Raises:
        ValueError: More pairs than 32 bits can number.
    """
    if 2 * len(first) >= 2**31:
        raise ValueError(f"at most 2^30 pairs can be sorted, received {len(first):,}")
    library = load("rows") if first.device.type == "cpu" else None
    if library is not None:
        start = torch.empty(num_atoms + 1, dtype=torch.int64)
        sender, half = torch.empty(2, 2 * len(first), dtype=torch.int32)
        library.function("sort_rows")(
            *(num_atoms, len(first), first.contiguous(), second.contiguous()),
            *(start, sender, half),
        )
        return Rows(start, sender, half, start)
    receiver = torch.stack([first, second], dim=1).flatten()
    order = receiver.argsort(stable=True)
    start = first.new_zeros(num_atoms + 1)
    torch.cumsum(segment_count(receiver, num_atoms), 0, out=start[1:])
    sender = torch.stack([second, first], dim=1).flatten()[order]
    return Rows(start, sender.int(), order.int(), start.cpu())


def compiled(like: Tensor, name: str, **sizes: int) -> Functions | None:
    """Return the compiled loops of a file for such numbers; None without them.

    Args:
        like: Numbers of the type and on the device that are meant.
        name: The file, `molflt.nn.kernels`.
        sizes: Its macros.
    """
    if like.device.type != "cpu":
        return None
    library = load(name, like.dtype, **sizes)
    return None if library is None else library.function


class Edges(NamedTuple):
    """Rows with displacements, and radial functions of their lengths.

    Args:
        rows: The rows.
        delta: Displacements of the pairs (p, 3) [Å].
        table: Values of the functions at knots.
        cutoff: Last knot [Å].
    """

    rows: Rows
    delta: Float[Tensor, "p 3"]
    table: Table
    cutoff: float

    @property
    def arguments(self) -> tuple[Tensor | int | float, ...]:
        """The arguments of compiled loops that describe the edges."""
        radial = self.table, len(self.table) - 1, float(self.cutoff)  # may be 5
        return (*self.rows.arguments, self.delta, *radial)

    def blocks(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Cut rows into blocks of few enough edges for arrays of them."""
        while begin < end:
            limit = self.rows.ends[begin] + TORCH_EDGES
            last = int(torch.searchsorted(self.rows.ends, limit, right=True)) - 1
            last = min(max(last, begin + 1), end)
            yield begin, last
            begin = last


class Part(NamedTuple):
    """Edges of some rows: receiver counted from the first row, sender, pair, sign."""

    receiver: Int[Tensor, " e"]
    sender: Int[Tensor, " e"]
    pair: Int[Tensor, " e"]
    sign: Int[Tensor, " e"]

    def add_once(
        self, pairs: Float[Tensor, "p 3"], edges: Float[Tensor, "e 3"]
    ) -> None:
        """Add numbers of edges to those of their pairs, of one direction alone."""
        pairs.index_add_(0, self.pair, edges * (self.sign > 0).unsqueeze(1))


class TableGradient:
    """The gradient of a table, summed in float64 over the parts of several threads.

    Args:
        table: The table, perhaps of dual numbers.
    """

    def __init__(self, table: Tensor) -> None:
        self.total = torch.zeros_like(table, dtype=torch.float64)
        self._like = table
        self._parts: dict[int, Tensor] = {}

    def own(self) -> Tensor:
        """Return what the calling thread may add to."""
        thread = threading.get_ident()
        if thread not in self._parts:
            self._parts[thread] = torch.zeros_like(self._like)
        return self._parts[thread]

    def collect(self) -> None:
        """Add the parts to the total."""
        for part in self._parts.values():
            self.total += part
        self._parts.clear()
