"""Times of near heads on each path: what `molflt.nn.paths.Costs` is made from.

    python benchmarks/near_paths.py        a minute; writes results/near_paths.json

One layer and the embedding, forward and backward by parameters, on pieces of water: the
dense path's time for each pair of slots, the linear and streamed paths' for each edge.
"""

import time
from typing import Any

import numpy as np
import torch
from loop import one_thread
from record import write_result
from systems import water
from torch_geometric.data import Batch, Data

from molflt.encoder import FLTEncoder
from molflt.nn.geometry import Geometry
from molflt.nn.paths import COSTS

SIZES = ((32, 18), (8, 96), (4, 192), (2, 384), (1, 768), (1, 1536))
"""Graphs of a batch, and atoms of each."""


def graphs(count: int, size: int) -> Data:
    """Return a batch of drops of water."""
    z, pos, _ = water(size)
    data = Data(z=torch.as_tensor(z), pos=torch.as_tensor(pos))
    return Batch.from_data_list([data] * count)


def seconds(encoder: FLTEncoder, data: Data, geometry: Geometry, path: Any) -> float:
    """Return the processor's time for forward and backward, the least of five."""
    found = []
    for _ in range(5):
        start = time.process_time()
        x, vec = encoder(data, geometry=geometry, path=path)
        (x.sum() + vec.square().sum()).backward()
        found.append(time.process_time() - start)
    return min(found)


def main() -> None:
    """Measure and write."""
    one_thread()
    torch.manual_seed(0)
    encoder = FLTEncoder(num_layers=1, num_near_heads=8, num_far_heads=0)
    rows = []
    limit = COSTS.stream_edges
    for count, size in SIZES:
        data = graphs(count, size)
        geometry = encoder.geometry(data)
        assert geometry.pairs is not None
        edges, slots = 2 * geometry.pairs.num_real, count * size**2
        row: dict[str, Any] = {"graphs": count, "atoms": size, "edges": edges}
        for name, path, stream in (
            ("dense", "dense", 10**12),
            ("linear", "linear", 10**12),
            ("streamed", "linear", 0),
        ):
            COSTS.stream_edges = stream
            row[f"{name}_ms"] = 1000 * seconds(encoder, data, geometry, path)
        rows.append(row | {"slots": slots})
        print(rows[-1], flush=True)
    COSTS.stream_edges = limit
    print(write_result("near_paths", {"rows": rows, "fit": fit(rows)}))


def fit(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return nanoseconds for each pair of slots and for each edge.

    Both paths do the same to each atom on its own; it is part of the fit, as the same
    number for both.
    """
    left, right = [], []
    for row in rows:
        atoms = row["graphs"] * row["atoms"]
        for name, known in (
            ("dense", [row["slots"], 0, 0]),
            ("linear", [0, row["edges"], 0]),
            ("streamed", [0, 0, row["edges"]]),
        ):
            scale = 1e6 * row[f"{name}_ms"]  # relative errors count alike
            left.append(np.array([*known, atoms]) / scale)
            right.append(1.0)
    found = np.linalg.lstsq(np.array(left), np.array(right), rcond=None)[0]
    names = ("dense_slot", "linear_edge", "streamed_edge", "atom")
    return dict(zip(names, found.tolist(), strict=True))


if __name__ == "__main__":
    main()
