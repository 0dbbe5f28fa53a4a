"""First features that see the angles between an atom's neighbours."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molflt.nn.angular import COMPONENTS, PARITY, directions
from molflt.nn.cutoff import Cutoff
from molflt.nn.filter_rows import angular_sums, filter_kernels
from molflt.nn.geometry import Geometry
from molflt.nn.paths import can_stream
from molflt.nn.segment import segment_sum
from molflt.nn.shells import RadialShells
from molflt.typing import NodeScalars, Species

MAX_ORDER = len(COMPONENTS) - 1
GAIN, GAIN_PER_ORDER = 100.0, 2.0
"""Invariants of a molecule are some 1e-2 at the start, less for higher orders."""


class AngularFeatures(nn.Module):
    r"""Invariants of the densities of neighbours around each atom, order by order.

    With Y_m the `directions` of orders l = 0 to L, K_lc learned functions of distance::

        A_imc = sum_j Y_m(D_ij) K_lc(r_ij) a_c[z_j]
        B_ilc = sum_(m of l) (A_im W1_l)_c (A_im W2_l)_c
        out_i = W b_i / sqrt(1 + mean(b_i^2)),   b_ilc = g_lc B_ilc

    Each B is a sum over pairs of neighbours of a function of both distances and of the
    angle between them, a polynomial of order l of its cosine; it does not change when
    the system is turned or mirrored. The cost is linear in the number of neighbours.
    A LayerNorm in place of the root would let a neighbour at the cutoff, where K is
    almost 0, change the features by a lot.

    Args:
        width: Channels of what is returned.
        num_species: Rows of the table a.
        channels: Channels c.
        order: L, 0 to 3.
        shells: Radial shells of K.
        cutoff: Cutoff function of K.

    Raises:
        ValueError: No such order, or no channels.

    Source: moment tensor potentials, arXiv 1512.06054; the basis A and its products
    are those of the atomic cluster expansion, doi:10.1103/PhysRevB.99.014104, Eq. 21.
    """

    def __init__(
        self,
        width: int,
        num_species: int,
        channels: int,
        order: int,
        shells: RadialShells,
        cutoff: Cutoff,
    ) -> None:
        super().__init__()
        if not 0 <= order <= MAX_ORDER:
            raise ValueError(
                f"angular_order must be 0 to {MAX_ORDER}, received {order}"
            )
        if channels < 1:
            raise ValueError(f"angular_channels must be positive, received {channels}")
        self.order, self.shells, self.cutoff = order, shells, cutoff
        self.species = nn.Embedding(num_species, channels)
        radial = (order + 1) * channels
        self.filter = nn.Linear(shells.num_components, radial, bias=False)
        self.mix = nn.ModuleList(
            nn.Linear(channels, 2 * channels, bias=False) for _ in range(order + 1)
        )
        gains = [GAIN * GAIN_PER_ORDER**order for order in range(order + 1)]
        self.gain = nn.Parameter(torch.tensor(gains).repeat_interleave(channels))
        self.out = nn.Linear(radial, width)

    def forward(self, z: Species, geometry: Geometry) -> NodeScalars:
        """Return features of atoms (n, c).

        Args:
            z: Atomic numbers (n,).
            geometry: Places and neighbour pairs.
        """
        invariants = []
        parts = self.moments(z, geometry).split(COMPONENTS[: self.order + 1], dim=1)
        for part, mix in zip(parts, self.mix, strict=True):
            first, second = mix(part).chunk(2, dim=2)
            invariants.append((first * second).sum(dim=1))
        found = self.gain * torch.cat(invariants, dim=1)
        return self.out(found * (1 + found.square().mean(1, keepdim=True)).rsqrt())

    def moments(self, z: Species, geometry: Geometry) -> Float[Tensor, "n m c"]:
        """Return A_imc: parts m of all orders, channels c."""
        pairs = geometry.pairs
        assert pairs is not None
        weight, values = self.filter.weight, self.species(z)
        channels = values.shape[1]
        if can_stream(weight) and filter_kernels(weight, channels, self.order):
            edges = pairs.edges(len(z), self.shells, self.cutoff, weight)
            return angular_sums(values, edges, self.order)
        components = pairs.windowed(self.shells, self.cutoff).T
        radial = self.filter(components).unflatten(1, (-1, 1, channels))  # (p, l, 1, c)
        sent = values[pairs.sender].unsqueeze(1)
        turned = directions(pairs.delta, pairs.r, self.order)
        messages = []
        for order, part in enumerate(turned):
            both = torch.cat([part, PARITY[order] * part], dim=1)  # (m, e)
            along = radial[:, order].repeat(2, 1, 1) * sent
            messages.append(both.T.unsqueeze(2) * along)
        return segment_sum(torch.cat(messages, dim=1), pairs.receiver, len(z))
