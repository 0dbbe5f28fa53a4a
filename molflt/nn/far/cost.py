"""Which way to evaluate far heads: sizes in, the cheapest way out."""

import math
from typing import Literal, NamedTuple

Way = Literal["dense", "waves", "nufft"]

# More is never chosen: some arrays of this size are held at once, and kept for
# derivatives in each layer.
MAX_PAIRS = 2**26  # pairs of atoms x kernels
MAX_PHASES = 2**25  # atoms x modes


class FarSizes(NamedTuple):
    """What the cost of far heads depends on, for a batch and one layer.

    Args:
        slots: Atoms, padding to the largest graph included: graphs x largest graph.
        atoms: Atoms.
        largest: Atoms of the largest graph.
        graphs: Graphs.
        waves: Half of the reciprocal vectors, of the graph that has most.
        grid: Points of the grids of transforms, all graphs.
        kernels: Heads, times 4 with vectors: f and a gradient.
        sums: Channels of all heads that are summed over atoms, k_e v_d.
        reads: Channels of all heads and kernels that are read at atoms.
        eps: Error of the transforms.
        periodic: Whether the dense way needs modes.
    """

    slots: int
    atoms: int
    largest: int
    graphs: int
    waves: float
    grid: float
    kernels: int
    sums: int
    reads: int
    eps: float
    periodic: bool


class FarCosts(NamedTuple):
    """Seconds of the steps of each way on one CPU core.

    Fitted by hand to `benchmarks/far_paths.py`, to a factor of about two; replace what
    differs on another machine, `math.inf` to forbid a way.

    Args:
        pair: A pair of atoms and one kernel, dense, in closed form.
        entry: The same where modes are multiplied out, without the products.
        product: A multiplication and addition of a matrix product.
        wave: Cosine and sine of a mode at an atom.
        node: A node of the grid around an atom, in one transform.
        frequency: A frequency of the grid in one transform.
        transform: A transform of one graph, whatever its size.
    """

    pair: float = 4e-8
    entry: float = 1e-8
    product: float = 3e-11
    wave: float = 3.2e-8
    node: float = 4e-10
    frequency: float = 2.5e-8
    transform: float = 1e-4

    def seconds(self, way: Way, sizes: FarSizes) -> float:
        """Return the time of one way; infinite if it would not fit in memory."""
        pairs = sizes.slots * sizes.largest
        if way == "dense":
            if pairs * sizes.kernels > MAX_PAIRS:
                return math.inf
            one = self.pair
            if sizes.periodic:
                one = self.entry + 2 * sizes.waves * self.product
            return pairs * sizes.kernels * one
        if way == "waves":
            phases = sizes.slots * sizes.waves
            if phases > MAX_PHASES:
                return math.inf
            channels = sizes.sums + sizes.reads
            return phases * (self.wave + 2 * channels * self.product)
        nodes = (3 - math.log10(sizes.eps)) ** 3  # as finufft chooses its kernel
        transforms = (sizes.sums + sizes.reads) / 2
        return transforms * (
            sizes.atoms * nodes * self.node
            + sizes.grid * self.frequency
            + sizes.graphs * self.transform
        )

    def cheapest(self, sizes: FarSizes, ways: tuple[Way, ...]) -> Way:
        """Return the way of least time; the last one where none fits in memory."""
        times = {way: self.seconds(way, sizes) for way in reversed(ways)}
        return min(times, key=lambda way: times[way])
