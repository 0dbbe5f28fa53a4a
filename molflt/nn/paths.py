"""Which way near heads are evaluated: sizes in, path out; one function on all of them.

| path | work | when |
|---|---|---|
| dense | batched matrix products over all pairs of slots | small graphs |
| linear | sums over neighbour pairs, all at once | larger graphs |
| streamed | the same, some rows of edges at a time | large systems |
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from molflt.nn.geometry import Geometry
from molflt.nn.heads import Path, is_dense

NearPath = Literal["dense", "linear", "streamed"]


@dataclass
class Costs:
    """Times [ns] of one layer and the embedding, forward and backward, on one core.

    Measured by `benchmarks/near_paths.py`; what is the same on all paths is left out,
    and only ratios matter. Set a field of `COSTS` to override one.

    Args:
        dense_slot: Each pair of slots of the padded graphs, on the dense path.
        linear_edge: Each edge (both directions count), on the linear path.
        streamed_edge: Each edge on the streamed path.
        stream_edges: Number of edges from which on edges are streamed.
        stream_twice: This times as many where derivatives by positions are to be
            differentiated themselves: the streamed path computes more of them anew, but
            holds less.
    """

    dense_slot: float = 300.0
    linear_edge: float = 4500.0
    streamed_edge: float = 1800.0
    stream_edges: int = 12_000
    stream_twice: float = 4.0


COSTS = Costs()


def near_path(path: Path, geometry: Geometry, training: bool = False) -> NearPath:
    """Return how near heads of these graphs are evaluated.

    Args:
        path: "dense"; "linear": over neighbours, streamed if they are many; "auto":
            the cheaper of the two by `COSTS`.
        geometry: The graphs and their neighbour pairs.
        training: Whether a loss of forces may follow, if positions have gradients.

    Raises:
        ValueError: `path` is none of these.
    """
    pairs = geometry.pairs
    num_edges = 0 if pairs is None else 2 * pairs.num_real
    twice = COSTS.stream_twice if training and geometry.has_gradients else 1.0
    streamed = num_edges >= COSTS.stream_edges * twice
    edge = COSTS.streamed_edge if streamed else COSTS.linear_edge
    slots = geometry.num_graphs * geometry.size**2
    if is_dense(path, slots, int(edge * num_edges / COSTS.dense_slot)):
        return "dense"
    return "streamed" if streamed else "linear"


def can_stream(values: Tensor) -> bool:
    """Whether the streamed path knows these numbers: real ones, no mixed precision."""
    known = values.dtype in (torch.float32, torch.float64)
    return known and not torch.is_autocast_enabled(values.device.type)
