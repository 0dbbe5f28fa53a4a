"""Which way near heads are evaluated: sizes in, path out; one function on all of them.

| path | work | when |
|---|---|---|
| dense | batched matrix products over all pairs of slots | small graphs |
| linear | sums over neighbour pairs, all at once | larger graphs |
| streamed | the same, some rows of edges at a time, twice for gradients | large systems |
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
    """Times [ns] of one layer forward and backward, and from where on to stream.

    Measured by `benchmarks/near_paths.py`; only their ratios matter. Set a field of
    `COSTS` to override one.

    Args:
        dense_slot: Each pair of slots of the padded graphs, on the dense path.
        linear_edge: Each edge (both directions count), on the linear path.
        stream_edges: Number of edges from which on a system is streamed.
    """

    dense_slot: float = 60.0
    linear_edge: float = 1000.0
    stream_edges: int = 100_000


COSTS = Costs()


def near_path(path: Path, geometry: Geometry) -> NearPath:
    """Return how near heads of these graphs are evaluated.

    Args:
        path: "dense"; "linear": over neighbours, streamed if they are many; "auto":
            the cheaper of the two by `COSTS`.
        geometry: The graphs and their neighbour pairs.

    Raises:
        ValueError: `path` is none of these.
    """
    pairs = geometry.pairs
    num_edges = 0 if pairs is None else 2 * pairs.num_real
    slots = geometry.num_graphs * geometry.size**2
    limit = COSTS.linear_edge * num_edges / COSTS.dense_slot
    if is_dense(path, slots, int(limit)):
        return "dense"
    return "streamed" if num_edges >= COSTS.stream_edges else "linear"


def can_stream(values: Tensor) -> bool:
    """Whether the streamed path knows these numbers: real ones, no mixed precision."""
    known = values.dtype in (torch.float32, torch.float64)
    return known and not torch.is_autocast_enabled(values.device.type)
