"""Radial Gaussians: how far away the neighbours of an atom are, smoothly."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molflt.nn.spectra.shells import Derivatives

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

    Raises:
        ValueError: The cutoff is below the first centre.

    Source: weights that fall with distance, arXiv 1712.08417, Sec. II.
    """

    def __init__(self, num_components: int, cutoff: float) -> None:
        super().__init__()
        if cutoff <= FIRST:
            raise ValueError(f"cutoffs must lie above {FIRST} Å, received {cutoff:g}")
        self.num_components = num_components
        self.width = (cutoff - FIRST) / num_components
        centres = self._centres(torch.get_default_dtype())
        self._made_in = centres.dtype
        self.num_mirrored = int((centres < NEGLIGIBLE * self.width).sum())
        where = torch.get_default_device()
        self.register_buffer("centres", centres.to(where), persistent=False)

    def restore(self, device: torch.device) -> None:
        """Make the centres again, which no state holds, on a device."""
        dtype = self.get_buffer("centres").dtype
        self.centres = self._centres(self._made_in).to(device, dtype)

    def _centres(self, dtype: torch.dtype) -> Float[Tensor, " n"]:
        """Return the centres, on the CPU whatever device tensors are made on."""
        steps = torch.arange(self.num_components, dtype=dtype, device="cpu")
        return FIRST + self.width * steps

    @property
    def device(self) -> torch.device:
        """Where the centres are."""
        return self.get_buffer("centres").device

    @property
    def band(self) -> float:
        """Frequency [cycles/Å] beyond which their transforms are negligible."""
        return 6 / (2 * math.pi * self.width) + 1 / (2 * CORE)

    def forward(self, r: Float[Tensor, " p"]) -> Float[Tensor, "n p"]:
        """Return G_n(r) for distances r [Å]."""
        centres, scaled = self._scaled(r)
        waves = torch.exp(-0.5 * (scaled - centres).square())
        behind = centres[: self.num_mirrored]
        mirrored = torch.exp(-0.5 * (scaled + behind).square())
        missing = self.num_components - self.num_mirrored
        waves = waves + nn.functional.pad(mirrored, (0, 0, 0, missing))
        return waves / (r.square() + CORE**2)

    def derivatives(self, r: Float[Tensor, " p"]) -> Derivatives:
        """Return G_n(r), G_n'(r) and G_n''(r) for distances r [Å]."""
        centres, scaled = self._scaled(r)
        g = g1 = g2 = torch.zeros_like(scaled - centres)
        for off in (scaled - centres, scaled + centres):
            wave = torch.exp(-0.5 * off.square())
            g, g1 = g + wave, g1 - off * wave / self.width
            g2 = g2 + (off.square() - 1) * wave / self.width**2
        h = 1 / (r.square() + CORE**2)
        h1, h2 = -2 * r * h.square(), (6 * r.square() - 2 * CORE**2) * h**3
        return g * h, g1 * h + g * h1, g2 * h + 2 * g1 * h1 + g * h2

    def _scaled(self, r: Tensor) -> tuple[Tensor, Tensor]:
        """Return centres (n, 1) and distances (p,) in widths."""
        centres = self.get_buffer("centres").to(r.dtype).unsqueeze(1)
        return centres / self.width, r / self.width
