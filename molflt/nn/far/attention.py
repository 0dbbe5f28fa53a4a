"""Far heads: attention whose encoding f is smooth and band-limited, of any reach."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molflt.nn.exchange import Ranks
from molflt.nn.far.cost import FarCosts, FarSizes, Way
from molflt.nn.far.lattice import Lattice
from molflt.nn.far.nufft import (
    COARSEST_EPS,
    FINEST_EPS,
    SMALL_GRID_EPS,
    has_finufft,
)
from molflt.nn.far.sums import sums_dtype, transformed
from molflt.nn.geometry import Geometry
from molflt.nn.heads import HeadProjection, Path, is_dense
from molflt.nn.spectra.shells import RadialShells
from molflt.nn.spectra.spectrum import RadialGaussianMixture
from molflt.typing import HeadScalars, HeadVectors, NodeScalars

BULK_DENSITY = 0.08  # atoms per Å^3: copper 0.085, water 0.10, gold 0.059
ALWAYS_DENSE = 128  # atoms of open graphs for which other ways need not be thought of


@torch.no_grad()
def scale_to_bulk(mixture: RadialGaussianMixture) -> None:
    """Start a mixture such that sums over all atoms of a solid are of order one.

    A sum over atoms of density rho has the coherent part rho Int f = rho g(0) and the
    incoherent size sqrt(rho Int f^2). The first is set to zero for each head, the
    second to at most one for each shell; training may move both.
    """
    shells = mixture.shells
    r = torch.linspace(0, shells.reach, 1000)
    square = torch.trapezoid(4 * math.pi * r**2 * shells(r) ** 2, r, dim=1)
    mixture.amplitude.copy_((1 + BULK_DENSITY * square).rsqrt())
    coherent = shells.density(torch.zeros(1))[:, 0] * mixture.amplitude  # (t,)
    coherent = coherent / coherent.norm()
    along = mixture.coefficients @ coherent
    mixture.coefficients.sub_(torch.outer(along, coherent))


class FarAttention(nn.Module):
    r"""Masked linear attention over all atoms, images included, without a softmax.

    Per head, with w_ij = phi(q_i).phi(k_j) / (2 query_width), phi = softplus, and
    D = r_i - r_j - T::

        s_i = sum_j sum_T w_ij f(D) v_j                 (scalars)
        S_i = sum_j sum_T w_ij grad p(D) v'_j           (vectors), times 1 Å

    f and p are radial mixtures of the same shells; the pair j = i, T = 0 is left out.
    Ways to one function:

    * dense, open: the closed form f(r_ij);
    * dense, periodic: F_ij = sum_G g(G) cos(2 pi G.(r_i - r_j)) / V, G of the lattice;
    * waves (linear): the same modes, but sum_j is taken before i: cost atoms x modes;
    * nufft (linear): the same sums by non-uniform Fourier transforms, cost
      atoms + modes log(modes).

    The dense closed form is exact; modes are chosen such that all else obeys::

        |y_i - y^_i| <= tolerance sum_t |w_t| sum_j |w_ij| |v_j|

    for scalars and vectors y, j = i among the j (`RadialShells.support`; grad p is up
    to 2 pi band times as large as p, and its tolerance as much smaller). Signed sums
    cancel, so no error relative to y itself can be promised.

    Args:
        width: Channels of the scalar features.
        num_heads: Number of heads h.
        head_width: Value channels d of one head; few, since the linear path holds
            modes x query_width x head_width numbers per head.
        query_width: Channels of q and k of one head.
        shells: Radial shells with a band limit.
        vectors: Whether the vectors S are wanted.
        tolerance: Error of everything but the dense closed form.
        costs: What the choice of a way by "auto" and "linear" is based on.

    Raises:
        ValueError: A tolerance that is not between 0 and 0.1.

    Source: arXiv 2302.01925, Thm. 4.1, with lattice frequencies in place of random
    ones; `masked` form after arXiv 2107.07999, Alg. 1.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        head_width: int,
        query_width: int,
        shells: RadialShells,
        vectors: bool,
        tolerance: float = 1e-4,
        costs: FarCosts | None = None,
    ) -> None:
        super().__init__()
        if not 1e-12 <= tolerance <= 0.1:
            raise ValueError(
                "the tolerance of far heads must lie between 1e-12 and 0.1, received "
                f"{tolerance:g}"
            )
        self.tolerance, self.costs = tolerance, costs or FarCosts()
        self.num_heads, self.head_width = num_heads, head_width
        self.query_width = query_width
        self.vectors = vectors
        # Weights w_ij start near 1/4, values near 0.6: messages of order one.
        num_kernels = num_heads * (1 + vectors)
        self.mixture = RadialGaussianMixture(num_kernels, shells, scale=3.0)
        scale_to_bulk(self.mixture)
        self.project = HeadProjection(
            width, num_heads, query_width, [head_width] * (1 + vectors)
        )

    def forward(
        self,
        x: NodeScalars,
        geometry: Geometry,
        path: Path = "auto",
    ) -> tuple[HeadScalars, HeadVectors | None]:
        """Return the messages: scalars (n, h d) and vectors (n, 3, h d) or None.

        Args:
            x: Scalar features.
            geometry: Places of the atoms.
            path: "dense"; "linear": waves or nufft, whichever is cheaper; or "auto".

        Raises:
            InputError: The grid of a transform would not fit in memory, or finufft is
                missing and waves would not fit either.
        """
        way = self.way(geometry, path)
        split = self.project.split(x)
        if way == "nufft":
            lattice = self._lattice(geometry)
            with torch.autocast(x.device.type, enabled=False):
                eps = self._eps(lattice)
                return transformed(
                    self.mixture, lattice, geometry, split, eps, self.vectors
                )
        run = self._dense if way == "dense" else self._waves
        parts = [geometry.pad(part).permute(2, 0, 1, 3) for part in split]
        out = run(parts, geometry)  # (1 or 4, h, g, a, d)
        rows = geometry.unpad(out.permute(2, 3, 0, 1, 4)).flatten(2)  # (n, 1 or 4, hd)
        return rows[:, 0], (rows[:, 1:] if self.vectors else None)

    def way(self, geometry: Geometry, path: Path = "auto") -> Way:
        """Return how `forward` evaluates the heads."""
        open_and_small = not geometry.is_periodic and geometry.size <= ALWAYS_DENSE
        if is_dense(path, geometry.size, ALWAYS_DENSE if open_and_small else 0):
            return "dense"
        linear: tuple[Way, ...] = ("waves", "nufft")
        ways = linear if path == "linear" else ("dense", *linear)
        # Without finufft, the last resort says so.
        costs = self.costs if has_finufft() else self.costs._replace(node=math.inf)
        return costs.cheapest(self.sizes(geometry), ways)

    def sizes(self, geometry: Geometry) -> FarSizes:
        """Return what the cost depends on."""
        lattice = self._lattice(geometry)
        eps = self._eps(lattice)
        channels = self.num_heads * self.query_width * self.head_width
        return FarSizes(
            slots=geometry.num_graphs * geometry.largest,
            atoms=geometry.num_atoms,
            largest=geometry.largest,
            graphs=geometry.num_graphs,
            waves=max(lattice.num_modes, default=0.0),
            grid=lattice.grid_points(sums_dtype(geometry.dtype, eps), eps),
            kernels=self.num_heads * (1 + 3 * self.vectors),
            sums=channels * (1 + self.vectors),
            reads=channels * (1 + 3 * self.vectors),
            eps=eps,
            periodic=geometry.is_periodic,
        )

    @property
    def kernel_tolerance(self) -> float:
        """The tolerance of f that keeps the errors of f and 1 Å x grad p below it."""
        slope = 2 * math.pi * self.mixture.shells.band * self.vectors
        return self.tolerance / max(1.0, slope)

    def _eps(self, lattice: Lattice) -> float:
        """Return the error of transforms that keeps that of f below the tolerance.

        Two transforms miss f by twice what they miss single waves by, times the sum
        over G of g(G) / V. The tolerance counts atoms, that sum their images too
        (`crowding`). On a fine grid of 1.25 frequencies waves in the middle of the grid
        are missed by 0.25 eps or less, where an atom is at a point of the grid
        (measured, below `COARSEST_EPS`), those near its edge by up to 4 eps; there are
        few of these, and their errors cancel. On one of 2 it is 0.7 eps.
        """
        crowding = lattice.crowding(self.mixture.shells.min_width)
        wanted = self.kernel_tolerance / crowding
        eps = 1.5 * wanted if 1.5 * wanted > SMALL_GRID_EPS else wanted / 2
        return min(max(eps, FINEST_EPS), COARSEST_EPS)

    def _lattice(self, geometry: Geometry) -> Lattice:
        return geometry.lattice(self.mixture.shells, self.kernel_tolerance)

    def _dense(
        self, parts: list[Tensor], geometry: Geometry
    ) -> Float[Tensor, "k h g a d"]:
        q, k, *values = parts  # each (h, g, a, ·)
        weights = (q @ k.transpose(-1, -2)) * self.table(geometry)
        if not self.vectors:
            return weights @ values[0]
        even, odd = weights.split([1, 3])
        return torch.cat([even @ values[0], odd @ values[1]])

    def table(self, geometry: Geometry) -> Float[Tensor, "k h g a a"]:
        """Return F_ij and, with vectors, the three components of the gradient kernel.

        Rows of padding and the pair j = i, T = 0 are left out.
        """
        if geometry.is_periodic:
            return self._mode_table(geometry)
        h, pairs = self.num_heads, geometry.all_pairs
        shells, weights = self.mixture.shells, self.mixture.weights
        f = (weights[:h] @ pairs.cached(shells)).view(1, h, *pairs.valid.shape)
        f = f * pairs.valid
        if not self.vectors:
            return f
        slope = (weights[h:] @ pairs.cached(shells.slope)).view(f.shape[1:])
        slope = slope * pairs.valid
        return torch.cat([f, slope * pairs.delta.permute(3, 0, 1, 2).unsqueeze(1)])

    def _mode_table(self, geometry: Geometry) -> Float[Tensor, "k h g a a"]:
        modes = geometry.modes(self.mixture.shells, self.kernel_tolerance)
        h = self.num_heads
        density = self.mixture.density(modes.vectors) * modes.weights  # (h or 2h, g, m)
        right = torch.cat([modes.cos, modes.sin], dim=2).transpose(1, 2)  # (g, 2m, a)
        own = self.mixture.weights[:h].sum(1).view(h, 1, 1, 1)  # f_h(0)
        eye = torch.eye(geometry.size, dtype=right.dtype, device=right.device)
        left = torch.cat(
            [modes.cos * density[:h, :, None], modes.sin * density[:h, :, None]], dim=3
        )
        f = left @ right - own * eye
        if not self.vectors:
            return f.unsqueeze(0)
        # d/dD cos(2 pi G.D) = -2 pi G sin(2 pi G.D)
        tilt = -2 * math.pi * modes.vectors.permute(2, 0, 1)[:, None]  # (3, 1, g, m)
        tilt = (tilt * density[h:]).unsqueeze(3)  # (3, h, g, 1, m)
        left = torch.cat([modes.sin * tilt, -modes.cos * tilt], dim=4)
        return torch.cat([f.unsqueeze(0), left @ right])

    def _waves(
        self, parts: list[Tensor], geometry: Geometry
    ) -> Float[Tensor, "k h g a d"]:
        q, k, *values = parts
        modes = geometry.modes(self.mixture.shells, self.kernel_tolerance)
        h = self.num_heads
        density = self.mixture.density(modes.vectors) * modes.weights  # (h or 2h, g, m)
        waves = torch.cat([modes.cos, modes.sin], dim=2)  # (g, a, 2m)
        ranks = geometry.ranks
        out = self._sum_modes(waves, waves, density[:h], q, k, values[0], ranks)
        own = self.mixture.weights[:h].sum(1).view(h, 1, 1, 1)
        out = out - own * (q * k).sum(-1, keepdim=True) * values[0]
        if not self.vectors:
            return out.unsqueeze(0)
        crossed = torch.cat([modes.sin, -modes.cos], dim=2)
        turned = [
            self._sum_modes(
                crossed,
                waves,
                -2 * math.pi * modes.vectors[..., axis] * density[h:],
                q,
                k,
                values[1],
                ranks,
            )
            for axis in range(3)
        ]
        return torch.stack([out, *turned])

    @staticmethod
    def _sum_modes(
        left: Float[Tensor, "g a m2"],
        right: Float[Tensor, "g a m2"],
        density: Float[Tensor, "h g m"],
        q: Float[Tensor, "h g a e"],
        k: Float[Tensor, "h g a e"],
        v: Float[Tensor, "h g a d"],
        ranks: Ranks | None,
    ) -> Float[Tensor, "h g a d"]:
        """Return sum over modes of left_i density right_j w_ij v_j, sum_j first."""
        outer = (k.unsqueeze(4) * v.unsqueeze(3)).flatten(3)  # (h, g, a, e d)
        state = right.transpose(1, 2) @ outer  # (h, g, 2m, e d)
        if ranks is not None:
            state = ranks.total(state)
        state = state * torch.cat([density, density], dim=2).unsqueeze(3)
        read = (left @ state).unflatten(3, (q.shape[3], v.shape[3]))
        return (q.unsqueeze(4) * read).sum(3)
