"""How close a layer comes to what the processor could do, dense and over neighbours.

    python benchmarks/roofline.py        a minute; writes results/roofline.json

One thread, float32, one layer of near heads with vectors, forward.

Dense path: the time of its matrix products alone, at the same shapes, over the time of
the layer; operations are 2 m n k a product. `share` is of both repeated by themselves,
so that the products alone find their matrices in the cache; `share_in_turns` is of both
run in turns, as layers follow each other in a model. Neighbour (streamed) path: the
roofline

    seconds = operations / min(peak, bandwidth * operations / bytes)

over the time of the layer; `edge_work` and `atom_work` count what it needs, the row of
a neighbour as read from memory for every edge. `peak` is that of a product of 1,024 x
1,024 matrices, `bandwidth` that of a copy of 80 MB (read and written): the best found
between the rows, as other work on the machine can halve either. Beside it stands the
part of the sums over edges alone.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from loop import one_thread
from near_paths import graphs
from record import write_result
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from molflt.encoder import FLTEncoder
from molflt.nn.geometry import Geometry
from molflt.nn.layer import FLTLayer
from molflt.nn.near.paths import COSTS
from molflt.nn.near.rows import NearRows
from molflt.nn.streaming import _send_all

DENSE = ((32, 18), (32, 29), (16, 48), (4, 128))
"""Graphs of a batch, and atoms of each: QM9, its largest, slabs, larger."""

LINEAR = (1_000, 10_000, 50_000)
"""Atoms of a drop of water."""

FLOAT = 4  # bytes
REPEATS = 7
TURNS = 60


class Work(NamedTuple):
    """Floating-point operations, and bytes to and from memory."""

    operations: float
    bytes: float

    def times(self, count: int) -> "Work":
        """Return the work of `count` of these."""
        return Work(self.operations * count, self.bytes * count)


class Machine(NamedTuple):
    """Operations and bytes in a second."""

    peak: float
    bandwidth: float

    def seconds(self, work: Work) -> float:
        """Return the least time of some work: the roofline."""
        intensity = work.operations / work.bytes
        return work.operations / min(self.peak, self.bandwidth * intensity)


def edge_work(heads: int, query: int, scalars: int, vectors: int) -> Work:
    """Count what the sums over neighbours do for one edge (`kernels/near.cpp`).

    Distance, spline basis and direction: some 60 operations; a spline of 2 kernels a
    head: 11 each; q.k and the weights of both kernels; then a multiplication and an
    addition for each scalar, and two of both for each component of a vector. Read are
    the displacement, two indices, and k, v, v', V of the neighbour.
    """
    operations = 60 + heads * (2 * 11 + 2 * query + 2)
    operations += heads * (2 * scalars + 3 * (1 + 4 * vectors))
    read = heads * (query + scalars + vectors + 3 * vectors)
    return Work(operations, 3 * FLOAT + 8 + FLOAT * read)


def atom_work(layer: FLTLayer, width: int, vector_width: int) -> Work:
    """Count what a layer does for each atom: its linear maps; features in and out.

    Maps of vectors are applied to three components. Written and read again are what an
    atom sends and its sums, which do not stay in the processor.
    """
    operations = sent = 0
    for name, module in layer.named_modules():
        if isinstance(module, torch.nn.Linear):
            of_vectors = "vector" in name
            operations += 2 * module.weight.numel() * (3 if of_vectors else 1)
            if name.endswith(("near.project", "vector_in")):
                sent += module.out_features * (3 if of_vectors else 1)
    features = 2 * (width + 3 * vector_width)  # read and written
    return Work(operations, FLOAT * (features + 2 * sent))


class Products(TorchDispatchMode):
    """Records the matrix products that run, as functions that repeat them."""

    def __init__(self) -> None:
        super().__init__()
        self.again: list[Callable[[], Tensor]] = []
        self.operations = 0.0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if name in ("mm", "bmm", "addmm"):
            left, right = args[-2:]
            self.operations += 2.0 * left.numel() * right.shape[-1]
            # The same memory layouts, other numbers.
            given = [torch.rand_like(tensor) for tensor in args]
            self.again.append(lambda: func(*given))
        return func(*args, **(kwargs or {}))


def seconds(run: Callable[[], object]) -> float:
    """Return the processor's time, the least of some repeats of 20 ms at least."""
    run()
    found = []
    for _ in range(REPEATS):
        count, start = 0, time.process_time()
        while (spent := time.process_time() - start) < 0.02:
            run()
            count += 1
        found.append(spent / count)
    return min(found)


def in_turns(first: Callable[[], object], second: Callable[[], object]) -> list[float]:
    """Return the processor's times of both, run in turns: the least of each."""
    best = [float("inf")] * 2
    for _ in range(TURNS):
        for index, run in enumerate((first, second)):
            start = time.process_time()
            run()
            best[index] = min(best[index], time.process_time() - start)
    return best


def measure_machine() -> Machine:
    """Return the processor's speed in products and copies."""
    matrix = torch.rand(1024, 1024)
    source, target = torch.rand(2, 10_000_000)
    product = seconds(lambda: matrix @ matrix)
    copy = seconds(lambda: target.copy_(source))
    return Machine(2 * 1024**3 / product, 2 * FLOAT * len(source) / copy)


@contextmanager
def streamed() -> Iterator[None]:
    """Stream edges whatever their number."""
    limit, COSTS.stream_edges = COSTS.stream_edges, 0
    yield
    COSTS.stream_edges = limit


def features(encoder: FLTEncoder, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """Return random inputs of a layer."""
    rows = len(geometry.batch)
    return (
        torch.rand(rows, encoder.width),
        torch.rand(rows, 3, encoder.vector_width),
    )


def dense(encoder: FLTEncoder, layer: FLTLayer, count: int, size: int) -> Any:
    """Return times of a layer on the dense path, and of its products alone."""
    geometry = encoder.geometry(graphs(count, size)).in_pass()
    x, vec = features(encoder, geometry)
    with Products() as products:
        layer(x, vec, geometry, "dense")

    def all_products() -> None:
        for run in products.again:
            run()

    def whole_layer() -> None:
        layer(x, vec, geometry, "dense")

    alone, whole = seconds(all_products), seconds(whole_layer)
    turns = in_turns(all_products, whole_layer)
    return {
        "graphs": count,
        "atoms": size,
        "operations": products.operations,
        "layer_ms": 1000 * whole,
        "products_ms": 1000 * alone,
        "share": alone / whole,
        "products_in_turns_ms": 1000 * turns[0],
        "layer_in_turns_ms": 1000 * turns[1],
        "share_in_turns": turns[0] / turns[1],
    }


def linear(encoder: FLTEncoder, layer: FLTLayer, size: int) -> dict[str, Any]:
    """Return times of a layer on the streamed path, and what it has to do."""
    geometry = encoder.geometry(graphs(1, size)).in_pass()
    assert geometry.pairs is not None
    edges = 2 * geometry.pairs.num_real
    x, vec = features(encoder, geometry)
    with streamed():
        whole = seconds(lambda: layer(x, vec, geometry, "linear"))
        sums = seconds(edge_sums(layer, x, vec, geometry))
    heads = layer.near.sizes
    per_edge = edge_work(heads.heads, heads.query, heads.scalars, heads.vectors)
    per_atom = atom_work(layer, encoder.width, encoder.vector_width)
    return {
        "atoms": size,
        "edges": edges,
        "layer_ms": 1000 * whole,
        "edge_sums_ms": 1000 * sums,
        "per_edge": per_edge._asdict(),
        "per_atom": per_atom._asdict(),
    }


def against(machine: Machine, row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of `linear` with the roofline of a machine beside it."""
    edges = machine.seconds(Work(**row["per_edge"]).times(row["edges"]))
    atoms = machine.seconds(Work(**row["per_atom"]).times(row["atoms"]))
    least = 1000 * (edges + atoms)
    return row | {
        "roofline_ms": least,
        "roofline_edges_ms": 1000 * edges,
        "share": least / row["layer_ms"],
        "share_edge_sums": 1000 * edges / row["edge_sums_ms"],
    }


def edge_sums(
    layer: FLTLayer, x: Tensor, vec: Tensor, geometry: Geometry
) -> Callable[[], object]:
    """Return what sums over the edges of all atoms."""
    assert geometry.pairs is not None
    near = NearRows(layer.near.edges(geometry.pairs, len(x)), layer.near.sizes)
    atoms, vectors = _send_all(layer, x, vec)
    return lambda: near.sums(atoms, vectors, 0, len(x))


@torch.no_grad()
def main() -> None:
    """Measure and write."""
    one_thread()
    torch.manual_seed(0)
    encoder = FLTEncoder(num_layers=1, num_near_heads=8, num_far_heads=0)
    layer = encoder.layers[0]
    assert isinstance(layer, FLTLayer)
    found = [measure_machine()]
    result: dict[str, Any] = {"dense": []}
    for count, size in DENSE:
        result["dense"].append(dense(encoder, layer, count, size))
        found.append(measure_machine())
        print(result["dense"][-1], flush=True)
    rows = []
    for size in LINEAR:
        rows.append(linear(encoder, layer, size))
        found.append(measure_machine())
    machine = Machine(*map(max, *found))
    result["machine_speed"] = machine._asdict()
    result["linear"] = [against(machine, row) for row in rows]
    print(result["machine_speed"], *result["linear"], sep="\n")
    print(write_result("roofline", result))


if __name__ == "__main__":
    main()
