"""Far heads by non-uniform Fourier transforms, graph by graph and head by head."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from molflt.nn.far.lattice import Lattice, ModeGrid
from molflt.nn.far.nufft import SINGLE_EPS, Engine
from molflt.nn.geometry import Geometry
from molflt.nn.spectra.spectrum import RadialGaussianMixture
from molflt.typing import HeadScalars, HeadVectors

CHUNK = 2**26  # complex numbers at atoms and frequencies that are held at once
KEPT = 2**22  # a backward pass sums anew what has more, instead of keeping it


def transformed(
    mixture: RadialGaussianMixture,
    lattice: Lattice,
    geometry: Geometry,
    split: list[Tensor],
    eps: float,
    vectors: bool,
    engine: Engine = "fast",
) -> tuple[HeadScalars, HeadVectors | None]:
    """Return the messages of far heads: scalars (n, h d), vectors (n, 3, h d) or None.

    One transform for each graph: set apart in one box, graphs need as many frequencies
    and fewer calls. That measured faster at 100 atoms each, where other ways are
    cheaper still, and slower from 500 on.

    Args:
        mixture: Spectra of f of each head and, with vectors, of p.
        lattice: Frequencies.
        geometry: Atoms of each graph.
        split: q, k, v and, with vectors, v', each (n, h, ·).
        eps: Error of the transforms.
        vectors: Whether the vectors are wanted.
        engine: How the transforms are evaluated.
    """
    dtype = sums_dtype(geometry.dtype, eps)
    heads = range(split[0].shape[1])
    scalars, turned = [], []
    for graph, rows in enumerate(geometry.rows):
        grid = lattice.grid(graph, rows, dtype, eps, engine)
        # Parameters may have fewer digits than the sums.
        density = mixture.density(grid.vectors.to(mixture.weights.dtype))
        density = density.to(dtype) * grid.weights  # (h or 2h, m)
        mine = [part[rows].index_select(0, grid.order).to(dtype) for part in split]
        q, k, *values = [part.unbind(1) for part in mine]
        out = [
            kernel_sum(grid, density[h], q[h], k[h], values[0][h])[grid.place]
            for h in heads
        ]
        scalars.append(torch.cat(out, dim=1))
        if vectors:
            odd = density[len(heads) :]
            out = [
                gradient_sum(grid, odd[h], q[h], k[h], values[1][h])[grid.place]
                for h in heads
            ]
            turned.append(torch.cat(out, dim=2))
    query, key, value = split[:3]
    own = mixture.weights[: len(heads)].sum(1).view(-1, 1)  # f_h(0)
    itself = own * (query * key).sum(-1, keepdim=True) * value
    rest = _rows(scalars, geometry).to(value.dtype) - itself.flatten(1)
    return rest, _rows(turned, geometry).to(value.dtype) if vectors else None


def sums_dtype(dtype: torch.dtype, eps: float) -> torch.dtype:
    """Return the type of the transforms of features of a type, with an error."""
    single = eps >= SINGLE_EPS and dtype != torch.float64
    return torch.float32 if single else torch.float64


def _rows(graphs: list[Tensor], geometry: Geometry) -> Float[Tensor, " n *f"]:
    """Return rows of all atoms from those of each graph; padding is 0."""
    rows = graphs[0] if len(graphs) == 1 else torch.cat(graphs)
    if len(rows) == len(geometry.batch):
        return rows
    where = torch.cat([geometry.slot[part] for part in geometry.rows])
    return rows.new_zeros(len(geometry.batch), *rows.shape[1:]).index_copy(
        0, where, rows
    )


def kernel_sum(
    grid: ModeGrid,
    density: Float[Tensor, " m"],
    q: Float[Tensor, "n e"],
    k: Float[Tensor, "n e"],
    v: Float[Tensor, "n d"],
) -> Float[Tensor, "n d"]:
    """Return s_i = sum_j (q_i.k_j) f(r_i - r_j) v_j, images and j = i included.

    Args:
        grid: Frequencies of the graph.
        density: g(G) / V at `grid.vectors`.
        q: Queries.
        k: Keys.
        v: Values.
    """

    def filters() -> list[Tensor]:
        return [grid.spread(density, odd=False)]

    return _in_chunks(grid, filters, q, k, v)[:, 0]


def gradient_sum(
    grid: ModeGrid,
    density: Float[Tensor, " m"],
    q: Float[Tensor, "n e"],
    k: Float[Tensor, "n e"],
    v: Float[Tensor, "n d"],
) -> Float[Tensor, "n 3 d"]:
    """Return S_i = sum_j (q_i.k_j) grad p(r_i - r_j) v_j: weights 2 pi i G g(G) / V."""

    def filters() -> list[Tensor]:
        slopes = 2 * math.pi * grid.vectors * density.unsqueeze(1)
        return [1j * grid.spread(slopes[:, axis], odd=True) for axis in range(3)]

    return _in_chunks(grid, filters, q, k, v)


def _in_chunks(
    grid: ModeGrid,
    filters: Callable[[], list[Tensor]],
    q: Tensor,
    k: Tensor,
    v: Tensor,
) -> Float[Tensor, "n f d"]:
    """Return sum_e q_e (filter applied to k_e v_d) for each filter, few d at a time."""

    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        modes = grid.to_modes(_packed(k, v))
        return torch.stack(
            [
                _unpacked(grid.nufft.to_points(modes * weight), q, v.shape[1])
                for weight in filters()
            ],
            dim=1,
        )

    numbers = (grid.num_points + len(grid)) * k.shape[1]  # of two channels d
    step = 2 * max(1, CHUNK // (4 * numbers))
    parts = []
    for part in v.split(step, dim=1):
        if torch.is_grad_enabled() and numbers * part.shape[1] > 2 * KEPT:
            out = checkpoint(
                run, q, k, part, use_reentrant=False, preserve_rng_state=False
            )
        else:
            out = run(q, k, part)
        parts.append(out)
    return torch.cat(parts, dim=2)


def _packed(k: Float[Tensor, "n e"], v: Float[Tensor, "n d"]) -> Complex[Tensor, "c n"]:
    """Return k_e v_d, two channels d as real and imaginary part of one.

    Filters are real in space, so both parts stay apart: half as many transforms.
    """
    v = torch.nn.functional.pad(v, (0, v.shape[1] % 2))
    pairs = v.unflatten(1, (-1, 2)).transpose(0, 1)  # (d / 2, n, 2)
    both = k.T[:, None, :, None] * pairs  # (e, d / 2, n, 2)
    return torch.view_as_complex(both.contiguous()).flatten(0, 1)


def _unpacked(
    fields: Complex[Tensor, "c n"], q: Float[Tensor, "n e"], width: int
) -> Float[Tensor, "n d"]:
    """Return sum_e q_e u_ed from what `_packed` became."""
    both = torch.view_as_real(fields).unflatten(0, (q.shape[1], -1))  # (e, d/2, n, 2)
    summed = (q.T[:, None, :, None] * both).sum(0)  # (d / 2, n, 2)
    return summed.transpose(0, 1).flatten(1)[:, :width]
