"""Water of any size: a liquid of ASE's molecules, or a piece of a box that is given."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase.build import molecule
from ase.units import mol
from numpy.typing import NDArray

SPACING = (18.015 / mol * 1e24 / 0.997) ** (1 / 3)
"""Edge of the cube that one molecule of the liquid has [Å]."""


class System(NamedTuple):
    """Atoms of a benchmark.

    Args:
        z: Atomic numbers (n,).
        pos: Positions (n, 3) [Å].
        cell: Lattice vectors as rows (3, 3) [Å], periodic along all; None: open.
    """

    z: NDArray[np.int64]
    pos: NDArray[np.float64]
    cell: NDArray[np.float64] | None


def water(num_atoms: int, source: Path | None = None) -> System:
    """Return about `num_atoms` atoms of water at its density.

    Args:
        num_atoms: Number wanted; whole molecules are returned.
        source: An npz file with z, pos and cell of a larger box, atoms of a molecule
            next to each other. Up to its size, the molecules closest to a corner are
            cut out as a cube; beyond, the box is repeated and stays periodic. None:
            molecules turned at random on a cubic lattice, each moved a little.
    """
    if source is not None:
        return _of_box(num_atoms, source)
    count = max(num_atoms // 3, 1)
    edge = int(np.ceil(count ** (1 / 3) - 1e-9))
    grid = np.stack(np.meshgrid(*[np.arange(edge)] * 3, indexing="ij"), -1)
    places = grid.reshape(-1, 3)[:count] * SPACING
    generator = np.random.default_rng(0)
    places = places + generator.uniform(-0.3, 0.3, size=places.shape)
    turns = np.linalg.qr(generator.normal(size=(count, 3, 3)))[0]
    one = molecule("H2O")
    pos = places[:, None] + np.einsum("mij,aj->mai", turns, one.positions)
    return System(np.tile(one.numbers, count), pos.reshape(-1, 3), None)


def _of_box(num_atoms: int, source: Path) -> System:
    with np.load(source) as file:
        z, pos, cell = file["z"].astype(int), file["pos"].astype(float), file["cell"]
    cell = cell.astype(float)
    if num_atoms < len(z):
        # The distance along the farthest axis makes a cube of the molecules chosen.
        reach = pos.reshape(-1, 3, 3)[:, 0].max(axis=1)
        chosen = np.sort(np.argsort(reach, kind="stable")[: max(num_atoms // 3, 1)])
        rows = (3 * chosen[:, None] + np.arange(3)).ravel()
        return System(z[rows], pos[rows], None)
    counts = _repeats(num_atoms / len(z))
    steps = np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), -1)
    shifts = steps.reshape(-1, 3) @ cell
    pos = (pos[None] + shifts[:, None]).reshape(-1, 3)
    return System(np.tile(z, len(shifts)), pos, np.array(counts)[:, None] * cell)


def _repeats(factor: float) -> tuple[int, int, int]:
    """Return the most equal numbers of repeats whose product is nearest to `factor`."""
    top = int(factor) + 1
    found = [
        (a, b, c)
        for a in range(1, top + 1)
        for b in range(1, a + 1)
        for c in range(1, b + 1)
        if a * b * c <= 2 * factor
    ]
    return min(found, key=lambda n: (abs(np.log(np.prod(n) / factor)), n))
