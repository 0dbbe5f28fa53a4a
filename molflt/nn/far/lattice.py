"""Boxes of graphs and their reciprocal lattices, which represent smooth kernels."""

import math
from functools import cached_property

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from molflt.errors import InputError
from molflt.graph.host import fetched
from molflt.graph.order import places_in
from molflt.nn.exchange import Ranks
from molflt.nn.far.nufft import Engine, Nufft, Shape, quick_sizes, wrapped
from molflt.typing import Cells, GraphIndex, Positions

LATTICE_TOLERANCE = 1e-5  # error of a kernel that names none of its own
# Points of one block of 6^3 frequencies stand together: their surroundings on the grid
# stay in the cache. A million atoms take half of the time.
BLOCK = 6
MAX_GRID = 2**27  # frequencies of one transform: 1 GiB in float32, several at once


class Modes:
    """Reciprocal-lattice vectors G of each graph's box, half of them (G and -G pair).

        sum over T of f(D + T) = (1 / V) sum over G of g(G) exp(2 pi i G.D)

    so with weights 2 / V for every G kept and 1 / V for G = 0 the sum runs over
    cos(2 pi G.D) alone. Padded to the graph with most modes; padding has weight 0.

    Args:
        vectors: G (g, m, 3) [cycles/Å].
        weights: Weight of each G (g, m) [1/Å^3].
        phase: 2 pi G.r of each atom, padded (g, a, m).
        mask: 1 where a slot holds an atom, otherwise 0 (g, a).
    """

    def __init__(
        self,
        vectors: Float[Tensor, "g m 3"],
        weights: Float[Tensor, "g m"],
        phase: Float[Tensor, "g a m"],
        mask: Float[Tensor, "g a"],
    ) -> None:
        self.vectors = vectors
        self.weights = weights
        self.cos = torch.cos(phase) * mask.unsqueeze(2)
        self.sin = torch.sin(phase) * mask.unsqueeze(2)


class ModeGrid:
    """Reciprocal-lattice vectors of one graph on the grid of a Fourier transform.

    Args:
        nufft: Transforms between the atoms and the grid.
        vectors: The half of all G (m, 3) [cycles/Å] that `steps` names.
        weights: 1 / V [1/Å^3].
        steps: Integers (m, 3) with G = steps @ inverse box.
        sizes: Largest integer of each axis.
        order: Row of each point of `nufft` among the atoms of the graph (n,).
        ranks: Processes that hold other atoms of the graph, or None.
    """

    def __init__(
        self,
        nufft: Nufft,
        vectors: Float[Tensor, "m 3"],
        weights: Float[Tensor, ""],
        steps: Int[Tensor, "m 3"],
        sizes: Shape,
        order: Int[Tensor, " n"],
        ranks: Ranks | None = None,
    ) -> None:
        self.nufft, self.vectors, self.weights = nufft, vectors, weights
        self.order, self._ranks = order, ranks
        # The same on all processes: it decides how many sums they have in common.
        self.num_points = len(order) if ranks is None else ranks.most
        self.place = places_in(order)  # of each atom among the points
        self.shape = [2 * m + 1 for m in sizes]
        stride = steps.new_tensor([self.shape[1] * self.shape[2], self.shape[2], 1])
        middle = (steps.new_tensor(sizes) * stride).sum()
        offset = (steps * stride).sum(1)
        # G = 0 is its own opposite; every other G of the half has one elsewhere.
        self._paired = (steps != 0).any(1).nonzero().squeeze(1)
        self._places = torch.cat([middle + offset, middle - offset[self._paired]])

    def __len__(self) -> int:
        """Return the number of frequencies of the grid."""
        return math.prod(self.shape)

    def to_modes(self, values: Complex[Tensor, "c n"]) -> Complex[Tensor, "c x y z"]:
        """Return the sums over all atoms of the graph at each frequency."""
        modes = self.nufft.to_modes(values)
        return modes if self._ranks is None else self._ranks.total(modes)

    def spread(self, half: Float[Tensor, " m"], *, odd: bool) -> Float[Tensor, "x y z"]:
        """Return a function of G on the grid, from its values on one half.

        Args:
            half: Values at `vectors`.
            odd: Whether the value at -G is the negative; otherwise it is the same.
        """
        opposite = half.index_select(0, self._paired)
        both = torch.cat([half, -opposite if odd else opposite])
        grid = both.new_zeros(len(self)).index_copy(0, self._places, both)
        return grid.view(self.shape)


class Lattice:
    """The box of each graph, reciprocal vectors within a band, and atoms' fractions.

    Periodic directions keep their lattice vectors, so periodicity is exact. In an open
    direction the box is the extent of the atoms plus `reach`: images are then farther
    than the kernel reaches. Which G there are is fixed in derivatives; the G
    themselves, 1 / V and fractional positions follow the cell.

    Args:
        pos: Positions (n, 3) [Å], float64.
        batch: Graph of each atom (n,), ascending.
        box: Lattice vectors of the boxes as rows (g, 3, 3) [Å], of `boxes`.
        band: Largest |G| kept [cycles/Å].
        ranks: Processes that hold other atoms of the graphs, or None.

    Raises:
        InputError: A cell has no volume.
    """

    def __init__(
        self,
        pos: Positions,
        batch: GraphIndex,
        box: Cells,
        band: float,
        ranks: Ranks | None = None,
    ) -> None:
        self.band, self.box, self._ranks = band, box, ranks
        self._pos, self._batch = pos, batch
        self._grids: dict[tuple[int, torch.dtype, float, str], ModeGrid] = {}
        # Columns: reciprocal vectors without 2 pi.
        self.inverse = torch.linalg.inv_ex(self.box).inverse
        self.volume = torch.linalg.det(self.box).abs()
        # |m_i| = |G . a_i| <= band |a_i| for every G within the band.
        lengths = torch.linalg.vector_norm(self.box.detach(), dim=2)
        limits = torch.floor(band * lengths + 1e-9)
        ball = 2 / 3 * math.pi * band**3 * self.volume.detach()
        heights = _heights(self.box.detach(), self.volume.detach())
        flat, volumes, balls, self._heights = fetched(
            limits, self.volume, ball, heights
        )
        if 0.0 in volumes:
            raise InputError("The lattice vectors of a cell lie in one plane.")
        largest = [int(size) for size in flat]
        self.sizes: list[Shape] = list(zip(*[iter(largest)] * 3, strict=True))
        # One half of the ball |G| <= band, about; a small cell has G = 0 alone.
        self.num_modes = [size + 1 for size in balls]

    @cached_property
    def fraction(self) -> Positions:
        """Fractional coordinates of the atoms."""
        return torch.einsum("nx,nxj->nj", self._pos, self.inverse[self._batch])

    def half(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return steps (g, m, 3), vectors (g, m, 3), and weights (g, m) of `Modes`."""
        top = [max(sizes) for sizes in zip(*self.sizes, strict=True)]
        grid = _half_steps((top[0], top[1], top[2]), self.box.device)
        vectors = torch.einsum("kj,gxj->gkx", grid.double(), self.inverse)
        kept = torch.linalg.vector_norm(vectors.detach(), dim=2) <= self.band
        count = int(kept.sum(1).max())
        order = kept.int().argsort(dim=1, descending=True, stable=True)[:, :count]
        vectors = vectors.gather(1, order[..., None].expand(-1, -1, 3))
        twice = 2.0 - (grid == 0).all(1).double()  # 1 for G = 0
        weights = (twice * kept).gather(1, order) / self.volume[:, None]
        return grid[order], vectors, weights

    def crowding(self, width: float) -> float:
        r"""Return a bound of sum_G g(G) / V, for shells of at least this width.

        That is sum_T phi(T) <= sum_T exp(-2 pi^2 s^2 |T|^2): how many of its images an
        atom meets with full weight. With the heights h_k of the box, orthogonalised
        row by row, the sum is at most the product over k of one-dimensional ones, of
        which each is at most 1.09 max(1, 1 / (sqrt(2 pi) s h_k)). The product of these
        maxima is returned, the largest of all graphs; 1 in open systems.

        Args:
            width: Least width s [cycles/Å].
        """
        dense = 1 / (math.sqrt(2 * math.pi) * width)
        counts = (max(1.0, dense / height) for height in self._heights)
        return max(
            (math.prod(three) for three in zip(*[counts] * 3, strict=True)), default=1.0
        )

    def grid_points(self, dtype: torch.dtype, eps: float) -> int:
        """Return the number of frequencies of the grids of all graphs."""
        grids = (quick_sizes(sizes, dtype, eps) for sizes in self.sizes)
        return sum(math.prod(2 * m + 1 for m in grid) for grid in grids)

    def grid(
        self,
        graph: int,
        rows: slice,
        dtype: torch.dtype,
        eps: float,
        engine: Engine = "fast",
    ) -> ModeGrid:
        """Return the frequencies of one graph on the grid of a transform.

        Made once, so that all layers share the sorted points.

        Args:
            graph: Number of the graph.
            rows: Its atoms.
            dtype: Type of points and vectors.
            eps: Error of the transforms.
            engine: How they are evaluated.

        Raises:
            InputError: The grid would not fit in memory.
        """
        key = (graph, dtype, eps, engine)
        if key not in self._grids:
            self._grids[key] = self._make_grid(graph, rows, dtype, eps, engine)
        return self._grids[key]

    def _make_grid(
        self, graph: int, rows: slice, dtype: torch.dtype, eps: float, engine: Engine
    ) -> ModeGrid:
        sizes = quick_sizes(self.sizes[graph], dtype, eps)
        shape = [2 * m + 1 for m in sizes]
        if math.prod(shape) > MAX_GRID:
            lengths = torch.linalg.vector_norm(self.box[graph].detach(), dim=1)
            text = " x ".join(f"{length:,.0f}" for length in lengths.tolist())
            raise InputError(
                f"Far heads need {shape[0]} x {shape[1]} x {shape[2]} frequencies for "
                f"a box of {text} Å, more than fits in memory; use a smaller or more "
                "compact box, or train with a lower far_band or a higher far_tolerance."
            )
        steps = _half_steps(sizes, self.box.device)
        vectors = steps.double() @ self.inverse[graph].T
        kept = torch.linalg.vector_norm(vectors.detach(), dim=1) <= self.band
        index = kept.nonzero().squeeze(1)
        points = wrapped(self.fraction[rows]).to(dtype)
        order = near_in_memory(points.detach(), sizes)
        return ModeGrid(
            Nufft(points.index_select(0, order), sizes, eps, engine),
            vectors.index_select(0, index).to(dtype),
            (1 / self.volume[graph]).to(dtype),
            steps.index_select(0, index),
            sizes,
            order,
            self._ranks,
        )


def _heights(box: Cells, volume: Float[Tensor, " g"]) -> Float[Tensor, "g 3"]:
    """Return lengths [Å] of the rows of boxes without their parts along rows before."""
    length = torch.linalg.vector_norm(box[:, 0], dim=1)
    area = torch.linalg.vector_norm(torch.linalg.cross(box[:, 0], box[:, 1]), dim=1)
    return torch.stack([length, area / length, volume / area], dim=1)


def _half_steps(sizes: Shape, device: torch.device) -> Int[Tensor, "m 3"]:
    """Return one of m and -m for every integer vector with |m_i| <= sizes[i]."""
    axes = [torch.arange(-m, m + 1, device=device) for m in sizes]
    steps = torch.cartesian_prod(axes[0][sizes[0] :], axes[1], axes[2])
    m0, m1, m2 = steps.unbind(1)
    return steps[(m0 > 0) | (m1 > 0) | ((m1 == 0) & (m2 >= 0))]


def near_in_memory(points: Float[Tensor, "n 3"], sizes: Shape) -> Int[Tensor, " n"]:
    """Return an order of points in [-pi, pi] by blocks of the grid."""
    count = [(2 * m + 1) // BLOCK + 1 for m in sizes]
    scale = points.new_tensor(count) / (2 * math.pi)
    block = ((points + math.pi) * scale).long()
    return ((block[:, 0] * count[1] + block[:, 1]) * count[2] + block[:, 2]).argsort()
