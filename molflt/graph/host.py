"""What the host asks of tensors that may be on a GPU.

Each question makes it wait until the GPU has done all that it was given before, so what
is needed of a batch is asked for at once, before the work begins.
"""

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from molflt.errors import InputError
from molflt.typing import GraphIndex, Periodicity, Positions

FARTHEST = 1e6
"""Distance [Å] of an atom from the centre of its structure that is too far.

Lists of cells as fine as a cutoff come to no end in a system that is much longer.
"""


class Layout(NamedTuple):
    """Sizes and periodic directions of the graphs of a batch.

    Args:
        sizes: Number of atoms of each graph.
        directions: The periodic directions of each.
        extent: Largest distance [Å] of an atom from the centre of its graph, if known.
    """

    sizes: list[int]
    directions: list[list[bool]]
    extent: float = float("inf")

    @property
    def is_periodic(self) -> bool:
        """Whether any graph has a periodic direction."""
        return any(any(three) for three in self.directions)


def layout_of(
    batch: GraphIndex,
    num_graphs: int,
    pbc: Periodicity | None,
    extent: Tensor | None = None,
) -> Layout:
    """Return sizes and directions of graphs, for which the host waits once.

    Args:
        batch: Graph of each atom (n,), ascending.
        num_graphs: Number of graphs g.
        pbc: Periodic directions (g, 3), or None.
        extent: `Layout.extent`, a number; None: not known.

    Raises:
        ValueError: The atoms of a graph are not next to each other.
        InputError: The extent is known, and it is not finite or beyond `FARTHEST`.
    """
    count = segment_count(batch, num_graphs)
    pbc = count.new_zeros(num_graphs, 3) if pbc is None else pbc
    unknown = torch.full((), torch.inf, device=batch.device)
    descents = (batch[1:] < batch[:-1]).sum()
    asked = fetched(count, pbc, unknown if extent is None else extent, descents)
    if asked[3][0]:
        raise ValueError(
            "batch must be ascending: the atoms of a graph next to each other, as in a "
            "Batch of torch_geometric; batch.argsort(stable=True) brings them there."
        )
    if extent is not None and not asked[2][0] < FARTHEST:  # nor is NaN
        raise InputError(
            f"Positions must be finite, and less than {FARTHEST:g} Å from the centre "
            f"of their structure; one is {asked[2][0]:g} Å from it."
        )
    sizes, flags = ([int(value) for value in values] for values in asked[:2])
    directions = [[flag > 0 for flag in flags[3 * k :][:3]] for k in range(num_graphs)]
    return Layout(sizes, directions, asked[2][0])


def extent_of(pos: Positions, batch: GraphIndex, num_graphs: int) -> Tensor:
    """Return `Layout.extent`, NaN where a position is not finite; nothing waits."""
    pos = pos.detach().double()
    total = pos.new_zeros(num_graphs, 3).index_add_(0, batch, pos)
    count = segment_count(batch, num_graphs).clamp(min=1)
    return longest(pos - (total / count.unsqueeze(1)).index_select(0, batch))


def longest(rows: Tensor) -> Tensor:
    """Return the length of the longest row of (n, 3), 0 without any; nothing waits."""
    lengths = torch.linalg.vector_norm(rows.detach(), dim=1)
    return torch.cat([lengths, lengths.new_zeros(1)]).max()


def fetched(*tensors: Tensor) -> list[list[float]]:
    """Return the values of small tensors, flat, and wait once for all of them.

    Args:
        tensors: Real numbers, integers below 2^53 or truth values, of one device.
    """
    wide = torch.cat([tensor.detach().double().flatten() for tensor in tensors])
    parts = iter(wide.tolist())
    return [[next(parts) for _ in range(tensor.numel())] for tensor in tensors]


def segment_count(index: Int[Tensor, " k"], num_segments: int) -> Int[Tensor, " s"]:
    """Return how often each of 0 to num_segments - 1 occurs.

    Unlike `torch.bincount`, which looks for the largest first, nothing waits.
    """
    count = index.new_zeros(num_segments)
    return count.index_add_(0, index, torch.ones_like(index))


def indices_of(mask: Tensor, count: int) -> Tensor:
    """Return the indices of the `count` entries that are true, ascending.

    Stable, so they keep their order; and unlike `nonzero` nothing waits for it.
    """
    return (~mask).byte().argsort(stable=True)[:count]
