"""Time of a large system by the order of its atoms, as given and in that of space.

    python benchmarks/orders.py [NPZ]      two minutes; writes results/orders.json

Water, as a file might have it: molecule after molecule, molecules shuffled (a liquid
after long dynamics), sorted by element, all atoms shuffled. Near heads of width 64, 3
layers: energy, and energy with forces, with and without `molflt.graph.order`. NPZ: a
box of water, as of `scaling.py`; without one, molecules on a lattice.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from record import write_result
from scaling_models import flt
from systems import water
from torch_geometric.data import Data

from molflt.graph import order
from molflt.graph.subsurface import part_of
from molflt.model import FLTModel

ATOMS = 33_000
REPEATS = 3
LEAST = {"in space": order.LEAST_ATOMS, "as given": 10**9}


def orders(data: Data) -> dict[str, torch.Tensor]:
    """Return the orders that are compared."""
    count = len(data.z)
    shuffled = 3 * torch.randperm(count // 3).unsqueeze(1) + torch.arange(3)
    return {
        "molecule by molecule": torch.arange(count),
        "molecules shuffled": shuffled.flatten(),
        "by element": data.z.argsort(stable=True),
        "atoms shuffled": torch.randperm(count),
    }


def seconds(function: Callable[[], object]) -> float:
    """Return the least time of a call."""
    found = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return min(found)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description="Time by the order of atoms.")
    parser.add_argument("source", nargs="?", type=Path, help="npz of a box of water")
    z, pos, _ = water(ATOMS, parser.parse_args().source)
    torch.manual_seed(0)
    data = Data(z=torch.as_tensor(z), pos=torch.as_tensor(pos), no_subsurface=True)
    model = flt("auto").model
    assert isinstance(model, FLTModel)
    rows: list[dict[str, Any]] = []
    for name, index in orders(data).items():
        part = part_of(data, index)
        for met, order.LEAST_ATOMS in LEAST.items():
            with torch.no_grad():
                energy = seconds(partial(model, part))
            forces = seconds(partial(model.energy_and_forces, part))
            rows.append(
                {
                    "order": name,
                    "met": met,
                    "energy_us_an_atom": round(1e6 * energy / len(z), 1),
                    "forces_us_an_atom": round(1e6 * forces / len(z), 1),
                }
            )
            print(rows[-1], flush=True)
    threads = torch.get_num_threads()
    print(write_result("orders", {"atoms": len(z), "threads": threads, "rows": rows}))


if __name__ == "__main__":
    main()
