"""Non-uniform Fourier transforms in 3D, differentiable to any order.

The only file that imports `finufft`, and `cufinufft` for tensors on a GPU.
"""

import math
from collections.abc import Callable
from functools import cache, partial
from importlib.util import find_spec
from typing import Any, Literal

import torch
from jaxtyping import Complex, Float
from scipy.fft import next_fast_len
from torch import Tensor

from molflt.errors import InputError

Shape = tuple[int, int, int]
Kind = Literal[1, 2]
Engine = Literal["fast", "waves"]

MAX_WAVES = 2**24  # points x frequencies that the explicit sums hold at once
SINGLE_EPS = 1e-5  # sums in float32 on grids of 100^3 reach little further
# What finufft is asked for in float32, at least: for less its kernels would be 9 points
# wide, which it cuts to 8 with a line on stderr for each plan. The sums are the same.
SINGLE_ASKED = 2e-5
# A fine grid of 1.25 instead of 2 times the frequencies an axis has a quarter of the
# memory and, at 1e6 points on 103^3 frequencies, took 0.4 of the time, but it cannot
# reach every accuracy.
SMALL_GRID, SMALL_GRID_EPS = 1.25, 1e-8
# Kernels of finufft are 2 to 16 points wide. On a fine grid of 1.25, those of 5 points
# and fewer come too near to what they are asked for, or miss it; 16 points reach 1e-14
# on one of 2, and for less finufft warns that it cannot.
COARSEST_EPS, FINEST_EPS = 3e-4, 1e-14

SLOW_LENGTHS = {
    torch.float32: (18, 30, 60, 96, 192),
    torch.float64: (18, 48),
}
"""Points an axis of fine grids that take about twice the time of the next length or
more: `benchmarks/fft_lengths.py`."""


def quick_sizes(sizes: Shape, dtype: torch.dtype, eps: float) -> Shape:
    """Return largest frequencies, none smaller, whose transforms are not slow ones.

    Args:
        sizes: Largest frequencies that are wanted (M_1, M_2, M_3).
        dtype: Type of the points.
        eps: Error of the transforms.
    """
    x, y, z = (_quick_size(m, dtype, _fine(eps)) for m in sizes)
    return x, y, z


@cache  # asked for each graph, layer and step
def _quick_size(m: int, dtype: torch.dtype, fine: float) -> int:
    while fine_length(2 * m + 1, fine) in SLOW_LENGTHS.get(dtype, ()):
        m += 1
    return m


def fine_length(frequencies: int, fine: float) -> int:
    """Return how many points finufft gives an axis: even, no prime factor above 5."""
    half = math.ceil(math.ceil(fine * frequencies) / 2)
    return 2 * int(next_fast_len(half, real=True))


def _fine(eps: float) -> float:
    """Return the ratio of the fine grid to the frequencies."""
    return SMALL_GRID if eps > SMALL_GRID_EPS else 2.0


def has_finufft() -> bool:
    """Whether the package `finufft` is there; without it, sums are written out."""
    return find_spec("finufft") is not None


class Nufft:
    r"""Sums between points x_j in R^3 and integer frequencies m, both ways.

        to_modes (type 1):   F_m = sum_j c_j exp(-i m.x_j)
        to_points (type 2):  u_j = sum_m F_m exp(+i m.x_j)

    for m_k = -M_k, ..., M_k. Each is the adjoint of the other, so the derivatives are
    the transforms themselves, with values or frequencies as weights::

        dL = Re conj(gF_m) dF_m:  gc = to_points(gF),
            gx_j = Re c_j conj(to_points(i m gF))_j
        dL = Re conj(gu_j) du_j:  gF = to_modes(gu),
            gx_j = Re conj(gu_j) to_points(i m F)_j

    and, made of the same two functions, right in every order.

    Args:
        points: Points (n, 3) in radians; those within [-pi, pi) keep most digits.
        sizes: Largest frequencies (M_1, M_2, M_3).
        eps: Error relative to sum_j |c_j|, or sum_m |F_m|.
        engine: "fast": finufft, or cufinufft; "waves": every exponential written out,
            points x frequencies of them, the twin for tests and machines without
            finufft.

    Raises:
        InputError: "fast" without finufft.

    Source: A. H. Barnett, J. Magland, L. af Klinteberg, SIAM J. Sci. Comput. 41, C479
    (2019).
    """

    def __init__(
        self,
        points: Float[Tensor, "n 3"],
        sizes: Shape,
        eps: float,
        engine: Engine = "fast",
    ) -> None:
        self.points = points
        plans: Callable[..., Any] = _Waves
        if engine == "fast":
            plans = _plans_for(points)
        self._plans = plans(points.detach(), sizes, eps)
        # Shapes (2M+1, 1, 1), (1, 2M+1, 1), (1, 1, 2M+1).
        self.frequencies = [
            torch.arange(-m, m + 1, dtype=points.dtype, device=points.device).view(
                [-1 if k == axis else 1 for k in range(3)]
            )
            for axis, m in enumerate(sizes)
        ]

    def to_modes(self, values: Complex[Tensor, "c n"]) -> Complex[Tensor, "c x y z"]:
        """Return F_m of each row of values."""
        return _Transform.apply(self.points, values, self, 1)

    def to_points(self, modes: Complex[Tensor, "c x y z"]) -> Complex[Tensor, "c n"]:
        """Return u_j of each row of modes."""
        return _Transform.apply(self.points, modes, self, 2)

    def sum_up(self, kind: Kind, values: Tensor) -> Tensor:
        """Return the transform of type 1 or 2 itself, without derivatives."""
        return self._plans.run(kind, values.detach().resolve_conj().contiguous())

    def slope(
        self, points: Tensor, weights: Tensor, modes: Tensor
    ) -> Float[Tensor, "n 3"]:
        """Return sum over rows of Re conj(weights) to_points(i m modes)."""
        parts = []
        for frequency in self.frequencies:
            turned = _Transform.apply(points, modes * (1j * frequency), self, 2)
            parts.append((weights.conj() * turned).real.sum(dim=0))
        return torch.stack(parts, dim=1)


class _Transform(torch.autograd.Function):
    """The transform of one kind; that of the other kind is its transpose."""

    @staticmethod
    def forward(
        ctx: Any, points: Tensor, data: Tensor, nufft: Nufft, kind: Kind
    ) -> Tensor:
        ctx.save_for_backward(points, data)
        ctx.nufft, ctx.kind = nufft, kind
        return nufft.sum_up(kind, data)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        points, data = ctx.saved_tensors
        by_points = by_data = None
        if ctx.needs_input_grad[0]:
            at_points, at_modes = (data, grad) if ctx.kind == 1 else (grad, data)
            by_points = ctx.nufft.slope(points, at_points, at_modes)
        if ctx.needs_input_grad[1]:
            by_data = _Transform.apply(points, grad, ctx.nufft, 3 - ctx.kind)
        return by_points, by_data, None, None


class _Plans:
    """Plans of finufft, or of cufinufft, which has the same interface.

    The points are sorted once for all transforms.
    """

    def __init__(
        self,
        points: Tensor,
        sizes: Shape,
        eps: float,
        library: Any,
        array: Callable[[Tensor], Any],
        **options: int,
    ) -> None:
        self.shape = tuple(2 * m + 1 for m in sizes)
        self.coordinates = [part.contiguous() for part in points.unbind(1)]
        single = points.dtype == torch.float32
        self.type = torch.complex64 if single else torch.complex128
        self.eps = max(eps, SINGLE_ASKED) if single else eps
        self.fine = _fine(self.eps)
        self.library, self.array, self.options = library, array, options
        self._plans: dict[tuple[Kind, int], Any] = {}

    def run(self, kind: Kind, values: Tensor) -> Tensor:
        """Return the transform of each row."""
        rows = len(values)
        values = values.to(self.type)
        shape = self.shape if kind == 1 else (len(self.coordinates[0]),)
        out = values.new_zeros(rows, *shape)
        if not (values.numel() and out.numel()):
            return out
        plan = self._plan(kind, rows)
        # One transform has no axis for rows.
        source, target = (values, out) if rows > 1 else (values[0], out[0])
        plan.execute(self.array(source), out=self.array(target))
        return out

    def _plan(self, kind: Kind, rows: int) -> Any:
        if (kind, rows) not in self._plans:
            plan = self.library.Plan(
                kind,
                self.shape,
                n_trans=rows,
                eps=self.eps,
                isign=-1 if kind == 1 else 1,
                upsampfac=self.fine,
                dtype=str(self.type).removeprefix("torch."),
                **self.options,
            )
            plan.setpts(*map(self.array, self.coordinates))
            self._plans[kind, rows] = plan
        return self._plans[kind, rows]


def _plans_for(points: Tensor) -> Callable[..., Any]:
    """Return what makes plans on the device of the points."""
    if points.is_cuda and find_spec("cufinufft") is not None:
        import cufinufft

        return partial(_Plans, library=cufinufft, array=lambda tensor: tensor)
    if not has_finufft():
        raise InputError(
            "Fourier sums of this size need the package finufft; install it with "
            "`pip install finufft`."
        )
    import finufft

    return partial(
        _HostPlans if points.is_cuda else _Plans,
        library=finufft,
        array=lambda tensor: tensor.numpy(),
        nthreads=torch.get_num_threads(),
    )


class _HostPlans(_Plans):
    """Transforms on the CPU for tensors of a GPU, where cufinufft is not installed."""

    def __init__(self, points: Tensor, *args: Any, **options: Any) -> None:
        super().__init__(points.cpu(), *args, **options)

    def run(self, kind: Kind, values: Tensor) -> Tensor:
        return super().run(kind, values.cpu()).to(values.device)


class _Waves:
    """Every exponential written out."""

    def __init__(self, points: Tensor, sizes: Shape, eps: float) -> None:
        axes = [torch.arange(-m, m + 1, device=points.device) for m in sizes]
        self.shape = [len(axis) for axis in axes]
        self.steps = torch.cartesian_prod(*axes).to(points.dtype)
        self.points = points

    def run(self, kind: Kind, values: Tensor) -> Tensor:
        """Return the transform of each row."""
        chunk = max(1, MAX_WAVES // max(len(self.points), 1))
        out = values.new_zeros(len(values), len(self.points))
        modes = []
        for start in range(0, len(self.steps), chunk):
            part = slice(start, start + chunk)
            waves = torch.exp(1j * (self.points @ self.steps[part].T))  # (n, m)
            if kind == 1:
                modes.append(values @ waves.conj())
            else:
                out = out + values.flatten(1)[:, part] @ waves.T
        if kind == 1:
            return torch.cat(modes, dim=1).view(-1, *self.shape)
        return out


def wrapped(fraction: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Return 2 pi times numbers of turns, moved into [-pi, pi]."""
    return 2 * math.pi * (fraction - torch.round(fraction).detach())
