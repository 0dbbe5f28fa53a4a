"""Times of near heads on each path: what `molflt.nn.near.paths.Costs` is made from.

    python benchmarks/near_paths.py        a minute; writes results/near_paths.json

One layer and the embedding, forward and backward by parameters, on pieces of water: the
dense path's time for each pair of slots, the linear and streamed paths' for each edge;
and the dense and linear paths' where forces are trained on.
"""

import time
from typing import Any

import numpy as np
import torch
from loop import one_thread
from record import write_result
from scipy.optimize import nnls
from systems import water
from torch_geometric.data import Batch, Data

from molflt.encoder import FLTEncoder
from molflt.graph.neighbors import NeighborPairs
from molflt.nn.geometry import Geometry
from molflt.nn.near.paths import COSTS

SIZES = ((32, 18), (8, 96), (4, 192), (2, 384), (1, 768), (1, 1536))
"""Graphs of a batch, and atoms of each."""


def graphs(count: int, size: int) -> Data:
    """Return a batch of drops of water."""
    z, pos, _ = water(size)
    data = Data(z=torch.as_tensor(z), pos=torch.as_tensor(pos))
    return Batch.from_data_list([data] * count)


def seconds(
    encoder: FLTEncoder, data: Data, geometry: Geometry, path: Any, *, twice: bool
) -> float:
    """Return the processor's time for forward and backward, the least of five.

    Args:
        encoder: What is run.
        data: The graphs.
        geometry: Their neighbours.
        path: Of the near heads.
        twice: Differentiate by positions first, as training on forces does.
    """
    found = []
    for _ in range(5):
        start = time.process_time()
        if twice:
            geometry = again(encoder, data, geometry)
        x, vec = encoder(data, geometry=geometry, path=path)
        loss = x.sum() + vec.square().sum()
        if twice:
            slope = torch.autograd.grad(loss, data.pos, create_graph=True)[0]
            loss = loss + slope.square().sum()
        loss.backward()
        found.append(time.process_time() - start)
    return min(found)


def again(encoder: FLTEncoder, data: Data, known: Geometry) -> Geometry:
    """Return the geometry as a function of positions, without searching neighbours."""
    assert known.pairs is not None
    data.pos = data.pos.detach().requires_grad_(True)
    pairs = known.pairs
    shift = torch.zeros(len(pairs.first), 3)
    return encoder.geometry(data, NeighborPairs(pairs.first, pairs.second, shift))


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
        for name, path, stream, twice in (
            ("dense", "dense", 10**12, False),
            ("linear", "linear", 10**12, False),
            ("streamed", "linear", 0, False),
            ("dense_twice", "dense", 10**12, True),
            ("linear_twice", "linear", 10**12, True),
        ):
            COSTS.stream_edges = stream
            spent = seconds(encoder, data, geometry, path, twice=twice)
            row[f"{name}_ms"] = 1000 * spent
        rows.append(row | {"slots": slots})
        print(rows[-1], flush=True)
    COSTS.stream_edges = limit
    result = {"rows": rows, "fit": fit(rows, ""), "fit_twice": fit(rows, "_twice")}
    print(write_result("near_paths", result))


def fit(rows: list[dict[str, Any]], suffix: str) -> dict[str, float]:
    """Return nanoseconds for each pair of slots and for each edge.

    All paths do the same to each atom on its own; it is part of the fit, as the same
    number for all. So are the tables of kernels that all but the dense path make, once.

    Args:
        rows: Times.
        suffix: Which of them: "" or "_twice".
    """
    paths = [p for p in ("dense", "linear", "streamed") if f"{p}{suffix}_ms" in rows[0]]
    left, right = [], []
    for row in rows:
        for place, path in enumerate(paths):
            atoms, tables = row["graphs"] * row["atoms"], path != "dense"
            work = [0] * len(paths) + [atoms, int(tables)]
            work[place] = row["slots" if path == "dense" else "edges"]
            # Relative errors count alike.
            left.append(np.array(work) / (1e6 * row[f"{path}{suffix}_ms"]))
            right.append(1.0)
    found, _ = nnls(np.array(left), np.array(right))
    names = [f"{p}_slot" if p == "dense" else f"{p}_edge" for p in paths]
    return dict(zip([*names, "atom", "once"], found.tolist(), strict=True))


if __name__ == "__main__":
    main()
