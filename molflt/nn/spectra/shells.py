"""Radial Gaussian shells in frequency space and their closed-form transforms."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

LATTICE_TAIL = 64.0
"""How much less of a density, and of images, is left out of sums in periodic cells.

In a cell of a few Å the first G that are left out are a shell of their own, worth up to
some 50 times the integral beyond them (measured over cells of 2.5 to 12 Å). Along an
open direction, all images of an atom in a plane or a row of such cells are at the same
distance: 64 count in a plane of cells of 2.5 Å, for s_t = 0.02 cycles/Å.
"""

Derivatives = tuple[Tensor, Tensor, Tensor]
"""A function of distance, its first and its second derivative."""


def sinc(x: Tensor) -> Tensor:
    """Return sin(x)/x with finite derivatives of every order used at x = 0."""
    small = x.abs() < 1e-2
    safe = torch.where(small, torch.ones_like(x), x)
    square = x * x
    series = 1 - square / 6 * (1 - square / 20)  # next term: x^6/5040 < 2e-16
    return torch.where(small, series, torch.sin(safe) / safe)


def sinc_slope(x: Tensor) -> Tensor:
    """Return sinc'(x)/x = (x cos x - sin x)/x^3, which is -1/3 at x = 0."""
    # The closed form loses eps/x^2 to cancellation; the series reaches to x = 1.
    small = x.abs() < 1.0
    safe = torch.where(small, torch.ones_like(x), x)
    square = x * x
    series = torch.zeros_like(x)
    for n in range(8, 0, -1):  # sum over n of (-1)^n 2n x^(2n-2) / (2n+1)!
        series = series * square + (-1) ** n * 2 * n / math.factorial(2 * n + 1)
    closed = (safe * torch.cos(safe) - torch.sin(safe)) / (safe * safe * safe)
    return torch.where(small, series, closed)


class RadialShells(nn.Module):
    r"""T Gaussian blobs averaged over all rotations: shells of radius k_t, width s_t.

    In real space (r in Å) and in frequency space (q = |xi| in cycles/Å)::

        phi_t(r) = exp(-2 pi^2 s_t^2 r^2) sin(2 pi k_t r) / (2 pi k_t r)
        g_t(q)   = (2 pi s_t^2)^(-3/2) exp(-(q - k_t)^2 / (2 s_t^2))
                   (1 - exp(-2a)) / (2a),   a = q k_t / s_t^2

    with phi_t(0) = 1 and the integral of g_t over R^3 equal to 1. Both k_t and s_t are
    learned within bounds that hold by construction::

        s_t >= min_width,   k_t + 5 s_t <= band

    so that all but 2e-5 of every g_t lies within |xi| <= band.

    Args:
        num_components: Number T of shells.
        band: Largest frequency [cycles/Å].
        min_width: Smallest width [cycles/Å]; phi_t falls below 4e-6 beyond
            5 / (2 pi min_width).

    Raises:
        ValueError: 5 min_width >= band, which leaves no room for a shell.

    Source: average of the Gaussian-mixture RPE of arXiv 2302.01925, Sec. 4, over
    rotations; sinc from the integral of exp(i q.r) over the sphere.
    """

    def __init__(self, num_components: int, band: float, min_width: float) -> None:
        super().__init__()
        if min_width <= 0 or 5 * min_width >= band:
            raise ValueError(
                f"min_width must lie between 0 and band / 5 = {band / 5:g}, "
                f"received {min_width:g}"
            )
        self.num_components = num_components
        self.band = band
        self.min_width = min_width
        # Widths start near their smallest value, radii evenly spread over the band.
        self.width_logit = nn.Parameter(torch.full((num_components,), -3.0))
        fraction = (torch.arange(num_components) + 0.5) / num_components
        self.radius_logit = nn.Parameter(torch.logit(fraction))

    @property
    def widths(self) -> Float[Tensor, " t"]:
        """Standard deviations s_t [cycles/Å]."""
        room = self.band / 5 - self.min_width
        return self.min_width + room * torch.sigmoid(self.width_logit)

    @property
    def radii(self) -> Float[Tensor, " t"]:
        """Radii k_t [cycles/Å]."""
        return (self.band - 5 * self.widths) * torch.sigmoid(self.radius_logit)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.radius_logit.device

    @property
    def reach(self) -> float:
        """Distance [Å] beyond which every |phi_t| is below 4e-6."""
        return 5 / (2 * math.pi * self.min_width)

    @torch.no_grad()
    def support(
        self, tolerance: float, *, periodic: bool = False
    ) -> tuple[float, float]:
        r"""Return the band and the reach that a Fourier sum needs, from k_t and s_t.

        With Q the tail of the normal distribution and q its density, the part of g_t
        beyond |xi| = k_t + z s_t is::

            P_t(z) = Q(z) + Q(z') + (s_t / k_t) (q(z) - q(z')),   z' = z + 2 k_t / s_t

        band [cycles/Å] is the largest k_t + z_t s_t with P_t(z_t) = tolerance / 4, or
        a `LATTICE_TAIL` of that.

        On a lattice of images at least `reach` apart from every atom, each direction
        adds at most 2 exp(-2 pi^2 s_t^2 reach^2) to phi_t <= 1, three of them hence
        6 exp(-z^2 / 2) with reach = z / (2 pi min s_t), which is as small as P_t(z_t).

        Half of the tolerance is left for the transforms.

        Args:
            tolerance: Error of phi_t, which is 1 at r = 0.
            periodic: Whether a box may be a cell of any size; otherwise its sides are
                longer than the reach, and sums over G are close to integrals.
        """
        tail = tolerance / (4 * LATTICE_TAIL if periodic else 4)
        k, s = self.radii.double().unsqueeze(1), self.widths.double().unsqueeze(1)
        z = torch.linspace(0, 10, 401, dtype=torch.float64, device=k.device)
        far = z + 2 * k / s
        density = [
            torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi) for x in (z, far)
        ]
        tails = [torch.special.ndtr(-x) for x in (z, far)]
        outside = tails[0] + tails[1] + s / k * (density[0] - density[1])  # (t, z)
        enough = z[(outside > tail).sum(1).clamp(max=len(z) - 1)].unsqueeze(1)
        band = (k + enough * s).max()
        reach = math.sqrt(2 * math.log(6 / tail)) / (2 * math.pi * s.min())
        band, reach = torch.stack([band, reach]).tolist()
        return band, reach

    def forward(self, r: Float[Tensor, " p"]) -> Float[Tensor, "t p"]:
        """Return phi_t(r) for distances r [Å]."""
        phase = 2 * math.pi * torch.outer(self.radii, r)
        decay = torch.exp(
            -2 * math.pi**2 * torch.outer(self.widths.square(), r.square())
        )
        return decay * sinc(phase)

    def slope(self, r: Float[Tensor, " p"]) -> Float[Tensor, "t p"]:
        """Return phi_t'(r) / r [1/Å^2], finite at r = 0.

        The gradient of phi_t(|D|) is slope(|D|) D.
        """
        wave = (2 * math.pi * self.radii).unsqueeze(1)
        rate = (4 * math.pi**2 * self.widths.square()).unsqueeze(1)
        decay = torch.exp(-0.5 * rate * r.square())
        phase = wave * r
        return decay * (wave.square() * sinc_slope(phase) - rate * sinc(phase))

    def derivatives(self, r: Float[Tensor, " p"]) -> Derivatives:
        """Return phi_t(r), phi_t'(r) and phi_t''(r) for distances r [Å].

        With s = sinc(x): s' = x sinc'(x)/x and s'' = -s - 2 sinc'(x)/x.
        """
        wave = (2 * math.pi * self.radii).to(r.dtype).unsqueeze(1)
        rate = (4 * math.pi**2 * self.widths.square()).to(r.dtype).unsqueeze(1)
        decay = torch.exp(-0.5 * rate * r.square())
        phase = wave * r
        value, per_phase = sinc(phase), sinc_slope(phase)
        first = wave * phase * per_phase
        second = -wave.square() * (value + 2 * per_phase)
        fall = -rate * r
        return (
            decay * value,
            decay * (first + fall * value),
            decay * (second + 2 * fall * first + (fall.square() - rate) * value),
        )

    def density(self, q: Float[Tensor, "*s"]) -> Float[Tensor, " t *s"]:
        """Return g_t(q) [Å^3] for frequencies q = |xi| [cycles/Å]."""
        shape = (-1, *(1,) * q.dim())
        k, s = self.radii.view(shape), self.widths.view(shape)
        a2 = 2 * q * k / s.square()
        # (1 - exp(-x)) / x, whose limit at x = 0 is 1 - x/2
        tiny = a2 < 1e-6
        safe = torch.where(tiny, torch.ones_like(a2), a2)
        ratio = torch.where(tiny, 1 - a2 / 2, -torch.expm1(-safe) / safe)
        norm = (2 * math.pi * s.square()) ** -1.5
        return norm * torch.exp(-((q - k) ** 2) / (2 * s.square())) * ratio
