"""Far heads: agreement, time and memory of the ways to evaluate them.

    python benchmarks/far_paths.py [--atoms 1000 ... 1000000] [--crossover 500 ...]

One thread. Times are of the processor, so that other programs disturb them little.
Atoms stand at random at the density of water; two heads of width 8 with vectors, as in
a model of width 64. Writes results/far_paths.json.
"""

import argparse
import math
import multiprocessing
import time
from pathlib import Path
from typing import Any

import torch
from record import write_result

from molflt.nn.far.attention import FarAttention
from molflt.nn.far.cost import FarCosts, Way
from molflt.nn.geometry import Geometry
from molflt.nn.spectra.shells import RadialShells

DENSITY = 0.1  # atoms per Å^3: water
NEVER = math.inf
ONLY = {
    "dense": FarCosts(),
    "waves": FarCosts(node=NEVER),
    "nufft": FarCosts(wave=NEVER),
}


def box_of_atoms(atoms: int, graphs: int, periodic: bool, dtype: Any) -> Geometry:
    """Return cubes with as many atoms each, at random places."""
    torch.manual_seed(0)
    length = (atoms / DENSITY) ** (1 / 3)
    pos = torch.rand(graphs * atoms, 3, dtype=torch.float64) * length
    batch = torch.arange(graphs).repeat_interleave(atoms)
    if not periodic:
        return Geometry(pos, batch, graphs, None, None, dtype)
    cell = (torch.eye(3, dtype=torch.float64) * length).expand(graphs, 3, 3)
    pbc = torch.ones(graphs, 3, dtype=torch.bool)
    return Geometry(pos, batch, graphs, cell, pbc, dtype)


def heads(way: Way, tolerance: float = 1e-4) -> FarAttention:
    """Return the far heads of one layer, the same whenever it is called."""
    torch.manual_seed(0)
    shells = RadialShells(8, band=0.25, min_width=0.02)
    return FarAttention(64, 2, 8, 2, shells, True, tolerance, ONLY[way])


def path_of(way: Way) -> Any:
    """Return the option that, with the costs of `heads`, leads to a way."""
    return "dense" if way == "dense" else "linear"


def agreement(way: Way, tolerance: float, dtype: torch.dtype) -> dict[str, float]:
    """Return the largest errors of open cubes over the norm that is promised.

    Against the dense closed form in float64; forces are those of a random sum of all
    messages, their error is over the tolerance times the largest exact force.
    """
    exact = heads("dense").double()
    fast = heads(way, tolerance).to(dtype)
    x = torch.randn(600, 64, dtype=torch.float64)
    rows = {}
    for name, module, path in (("exact", exact, "dense"), ("fast", fast, "linear")):
        kind = torch.float64 if name == "exact" else dtype
        geometry = box_of_atoms(600, 1, False, kind)
        geometry.centred.requires_grad_(True)
        out = module(x.to(kind), geometry, path)
        generator = torch.Generator().manual_seed(2)
        total = sum((y * torch.randn(y.shape, generator=generator)).sum() for y in out)
        (forces,) = torch.autograd.grad(total, geometry.centred)
        rows[name] = [y.detach().double() for y in (*out, forces)]
    q, k, *values = exact.project.split(x)
    weights = exact.mixture.weights.abs().sum(1).detach()
    pairs = torch.einsum("ihe,jhe->hij", q, k).detach()
    norms = [
        torch.einsum("h,hij,jhd->ihd", w, pairs, v.detach().abs()).flatten(1)
        for w, v in zip(weights.view(2, 2), values, strict=True)
    ]
    scalars, vectors, forces = [
        (a - b).abs() for a, b in zip(rows["fast"], rows["exact"], strict=True)
    ]
    return {
        "scalars_over_norm": float((scalars / norms[0]).max()),
        "vectors_over_norm": float((vectors / norms[1][:, None]).max()),
        "forces_over_largest": float(forces.max() / rows["exact"][2].abs().max()),
    }


def cpu_seconds(way: Way, atoms: int, graphs: int, periodic: bool) -> dict[str, Any]:
    """Return the time of one layer, the second time, and what costs predict."""
    module, geometry = heads(way), box_of_atoms(atoms, graphs, periodic, torch.float32)
    x = torch.randn(graphs * atoms, 64)
    with torch.no_grad():
        module(x, geometry.in_pass(), path_of(way))
        start = time.process_time()
        module(x, geometry.in_pass(), path_of(way))
        spent = time.process_time() - start
    return {
        "way": way,
        "atoms": atoms,
        "graphs": graphs,
        "periodic": periodic,
        "cpu_seconds": spent,
        "predicted_seconds": FarCosts().seconds(way, module.sizes(geometry)),
    }


def one_layer(atoms: int, backward: bool, queue: Any) -> None:
    """Time one layer of a periodic cube by transforms, and its peak of memory."""
    torch.set_num_threads(1)
    module, geometry = heads("nufft"), box_of_atoms(atoms, 1, True, torch.float32)
    x = torch.randn(atoms, 64, requires_grad=backward)
    geometry.centred.requires_grad_(backward)
    before = _peak()
    start, wall = time.process_time(), time.perf_counter()
    with torch.set_grad_enabled(backward):
        out = module(x, geometry.in_pass(), "linear")
        if backward:
            sum(y.sum() for y in out).backward()
    queue.put(
        {
            "atoms": atoms,
            "backward": backward,
            "grid": module.sizes(geometry).grid,
            "cpu_seconds": time.process_time() - start,
            "wall_seconds": time.perf_counter() - wall,
            "peak_gib": _peak(),
            "peak_gib_before": before,
        }
    )


def _peak() -> float:
    """Return the peak of resident memory, that of the parent process not counted."""
    status = Path("/proc/self/status").read_text()
    (line,) = [row for row in status.splitlines() if row.startswith("VmHWM")]
    return int(line.split()[1]) / 2**20


def in_a_process(atoms: int, backward: bool) -> dict[str, Any]:
    """Return `one_layer` of a process of its own, whose peak of memory is its own."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=one_layer, args=(atoms, backward, queue))
    process.start()
    found = queue.get()
    process.join()
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--atoms", type=int, nargs="*", default=[10**4, 10**5, 10**6])
    parser.add_argument("--backward", type=int, nargs="*", default=[10**4, 10**5])
    parser.add_argument("--crossover", type=int, nargs="*", default=[125, 500, 2000])
    options = parser.parse_args()
    torch.set_num_threads(1)
    errors = [
        {"way": way, "tolerance": tolerance, "dtype": str(dtype)}
        | agreement(way, tolerance, dtype)
        for way in ("waves", "nufft")
        for tolerance, dtype in (
            (1e-4, torch.float32),
            (1e-3, torch.float64),
            (1e-4, torch.float64),
            (1e-5, torch.float64),
            (1e-8, torch.float64),
        )
    ]
    for row in errors:
        print(row, flush=True)
    times = []
    for atoms in options.crossover:
        for periodic in (False, True):
            for graphs in (1, 8) if atoms <= 500 else (1,):
                for way in ONLY:
                    times.append(cpu_seconds(way, atoms, graphs, periodic))
                    print(times[-1], flush=True)
    layers = []
    for backward, sizes in ((False, options.atoms), (True, options.backward)):
        for atoms in sizes:
            layers.append(in_a_process(atoms, backward))
            print(layers[-1], flush=True)
    write_result("far_paths", {"agreement": errors, "ways": times, "layers": layers})


if __name__ == "__main__":
    main()
