"""Which way near heads are evaluated: sizes in, path out; one function on all of them.

| path | work | when |
|---|---|---|
| dense | batched matrix products over all pairs of slots | small graphs |
| linear | sums over neighbours, all at once | larger graphs |
| streamed | the same, block by block, nothing kept for gradients | large systems |
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from molflt.nn.geometry import Geometry
from molflt.nn.heads import Path, is_dense
from molflt.nn.kernels.build import can_compile

MOST_ROUNDED = 2048
"""Atoms of a batch up to which the number of rows is rounded up."""

NearPath = Literal["dense", "linear", "streamed"]


@dataclass
class Costs:
    """Times [ns] of one layer and the embedding, forward and backward, on one core.

    Measured by `benchmarks/near_paths.py`; what is the same on all paths is left out,
    and only ratios matter. Set a field of `COSTS` to override one.

    Args:
        dense_slot: Each pair of slots of the padded graphs, on the dense path.
        dense_row: Each row of padding, on the dense path; from training steps on slabs
            whose adsorbates by themselves are padded to them.
        linear_edge: Each edge (both directions count), on the linear path.
        linear_once: Tables of the kernels, a layer's share of them.
        torch_edge: Each edge on the linear path without compiled loops.
        stream_edges: Number of edges from which on layers are streamed: what the linear
            path keeps for gradients, some 20 kB for each atom and layer, becomes much.
    """

    dense_slot: float = 300.0
    dense_row: float = 20_000.0
    linear_edge: float = 220.0
    linear_once: float = 1e6
    torch_edge: float = 4500.0
    stream_edges: int = 1_000_000


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
    edge = COSTS.linear_edge if _is_compiled(geometry) else COSTS.torch_edge
    rows = geometry.num_graphs * geometry.size
    padding = COSTS.dense_row * (rows - geometry.num_atoms)
    slots = rows * geometry.size
    limit = (edge * num_edges + COSTS.linear_once - padding) / COSTS.dense_slot
    if is_dense(path, slots, int(limit)):
        return "dense"
    return "streamed" if num_edges >= COSTS.stream_edges else "linear"


def num_rows(path: Path, geometry: Geometry) -> int:
    """Return the number of rows with which sums over pairs are the fastest.

    Matrix products on a CPU are compiled for each shape, which takes longer than small
    ones do: batches of small graphs on the linear path get one of a few numbers. One
    graph keeps its own, as it comes again (dynamics) or is to be looked at.

    Args:
        path: As of `near_path`.
        geometry: The graphs.
    """
    count = len(geometry.batch)
    several = geometry.num_graphs > 1 and geometry.ranks is None
    few = several and count <= MOST_ROUNDED
    on_cpu = geometry.batch.device.type == "cpu"
    if not (few and on_cpu) or near_path(path, geometry) != "linear":
        return count
    step = max(16, 2 ** (count.bit_length() - 4))  # an eighth at most
    return -(-count // step) * step


def _is_compiled(geometry: Geometry) -> bool:
    """Whether compiled loops can do the sums."""
    device = geometry.batch.device.type
    return device == "cpu" and _is_known(geometry.dtype, device) and can_compile()


def can_stream(values: Tensor) -> bool:
    """Whether the streamed path knows these numbers: real ones, no mixed precision."""
    return _is_known(values.dtype, values.device.type)


def _is_known(dtype: torch.dtype, device: str) -> bool:
    known = dtype in (torch.float32, torch.float64)
    return known and not torch.is_autocast_enabled(device)
