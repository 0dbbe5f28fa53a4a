"""The kernels of near heads, functions of displacement with compact support."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molflt.nn.angular import PARITY, directions
from molflt.nn.cutoff import Cutoff
from molflt.nn.pairs import Pairs
from molflt.nn.spectra.shells import RadialShells
from molflt.nn.spectra.spectrum import RadialGaussianMixture


class NearKernel(nn.Module):
    r"""The kernels of each near head: f_h(r), and others with a direction.

        K_hl(D) = c(r) sum_t w_hlt phi_t(r) Y_l(D),   l = 0, 1, 2

    c is a cutoff, phi_t the closed form of a radial shell, Y_l the direction as a
    scalar, vector or symmetric traceless matrix (`directions`); f_h = K_h0.

    Args:
        num_heads: Number of heads h.
        shells: Shells, possibly shared with other layers.
        cutoff: The cutoff function c.
        order: Largest l.
    """

    def __init__(
        self, num_heads: int, shells: RadialShells, cutoff: Cutoff, order: int
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.order = order
        self.cutoff = cutoff
        self.mixture = RadialGaussianMixture(num_heads * (1 + order), shells)

    def radial(self, r: Float[Tensor, " p"]) -> Float[Tensor, "h p"]:
        """Return f_h(r) for distances r [Å]."""
        return (self.mixture.radial(r) * self.cutoff(r))[: self.num_heads]

    def forward(self, pairs: Pairs, *, directed: bool = True) -> Float[Tensor, "m h e"]:
        """Return all K_hl.

        Args:
            pairs: Pairs of neighbours.
            directed: Return 1, 3 and 5 components of l = 0, 1 and 2 for both directions
                of every pair. Otherwise one row of each and once for each pair: what
                the moments of D are multiplied by (`.moments`), K_hl without
                its direction, over sqrt(r^2 + 1)^l.
        """
        if not directed:
            values = self._values(pairs).unflatten(0, (-1, self.num_heads))
            return values * pairs.falloff(self.order).unsqueeze(1)
        radials = self.radials(pairs)
        angles = directions(pairs.delta, pairs.r, self.order)
        forward, back = [], []
        for radial, angle, sign in zip(radials, angles, PARITY, strict=False):
            kernel = radial * angle.unsqueeze(1)  # (1, 3 or 5, h, p)
            forward.append(kernel)
            back.append(kernel if sign > 0 else -kernel)
        return torch.cat([torch.cat(forward), torch.cat(back)], dim=-1)

    def radials(self, pairs: Pairs) -> Sequence[Float[Tensor, "h p"]]:
        """Return c(r) sum_t w_hlt phi_t(r) of each order l."""
        # Views by split, here and elsewhere: the backward of a slice fills a whole
        # array with zeros, that of a split joins its parts.
        return self._values(pairs).split(self.num_heads)

    def _values(self, pairs: Pairs) -> Float[Tensor, "k p"]:
        """Return the radial functions of all orders and heads."""
        return self.mixture.weights @ pairs.windowed(self.mixture.shells, self.cutoff)
