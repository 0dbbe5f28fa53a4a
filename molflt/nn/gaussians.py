"""Radial Gaussians: how far away the neighbours of an atom are, smoothly."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

FIRST = 0.7  # Å, centre of the first Gaussian; no two atoms come closer
CORE = 0.5  # Å
NEGLIGIBLE = 6.5  # widths; the Gaussian is 7e-10 there


class RadialGaussians(nn.Module):
    r"""Gaussians at even distances from each other, less of the far neighbours.

    With centres c_n from 0.7 Å to less than the cutoff, w their spacing::

        G_n(r) = (exp(-(r - c_n)^2 / (2 w^2)) + exp(-(r + c_n)^2 / (2 w^2)))
                 * 1 Å^2 / (r^2 + (0.5 Å)^2)

    The second exponential makes them smooth at r = 0 as functions of the displacement.
    A near neighbour counts for more than a far one, as it does in energies.

    Args:
        num_components: How many.
        cutoff: Distance [Å] up to which they are spread.

    Source: weights that fall with distance, arXiv 1712.08417, Sec. II.
    """

    def __init__(self, num_components: int, cutoff: float) -> None:
        super().__init__()
        self.num_components = num_components
        self.width = (cutoff - FIRST) / num_components
        centres = FIRST + self.width * torch.arange(num_components)
        self.register_buffer("centres", centres, persistent=False)
        self.num_mirrored = int((centres < NEGLIGIBLE * self.width).sum())

    def forward(self, r: Float[Tensor, " p"]) -> Float[Tensor, "n p"]:
        """Return G_n(r) for distances r [Å]."""
        centres = self.get_buffer("centres").to(r.dtype).unsqueeze(1) / self.width
        scaled = r / self.width
        waves = torch.exp(-0.5 * (scaled - centres).square())
        mirrored = torch.exp(-0.5 * (scaled + centres[: self.num_mirrored]).square())
        missing = self.num_components - self.num_mirrored
        waves = waves + nn.functional.pad(mirrored, (0, 0, 0, missing))
        return waves / (r.square() + CORE**2)
