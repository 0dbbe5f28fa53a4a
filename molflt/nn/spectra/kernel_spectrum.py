"""What spectra of one known shape have in common: a weight and a length per head."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from molflt.nn.spectra.spectrum import distance


class KernelSpectrum(nn.Module, ABC):
    r"""A spectrum that is the transform of a known kernel, f_h(D) = w_h shape(D; l_h).

    Weights may have any sign; lengths are positive, as their logarithms are learned.
    At initialisation heads have lengths in a geometric series from `length` / sqrt(2)
    to `length` sqrt(2), so that they differ.

    Args:
        num_heads: Number of heads h.
        length: Initial length [Å], the middle one of the heads.
        scale: Standard deviation of f_h(0) over heads at initialisation.

    Raises:
        ValueError: `length` or `scale` is not positive and finite.
    """

    rotation_invariant: ClassVar[bool] = False
    """Whether f depends on distance alone."""

    reach: float
    """Distance, in lengths, beyond which |f| is below 4e-6 |f(0)|."""

    frequency_reach: float = 2.0
    """Frequency, in inverse lengths, up to which g is worth a look."""

    num_lengths: ClassVar[int] = 1
    """Lengths of each head: 1, or 3 for the directions x, y and z."""

    def __init__(self, num_heads: int, length: float = 3.0, scale: float = 1.0) -> None:
        super().__init__()
        for name, value in (("length", length), ("scale", scale)):
            if not 0 < value < math.inf:
                raise ValueError(
                    f"{name} must be larger than 0 and finite, received {value}"
                )
        self.num_heads = num_heads
        octaves = torch.linspace(-0.5, 0.5, num_heads)
        if num_heads == 1:
            octaves = torch.zeros(1)
        log_length = math.log(length) + math.log(2) * octaves
        if self.num_lengths > 1:
            log_length = log_length[:, None].repeat(1, self.num_lengths)
        self.log_length = nn.Parameter(log_length)
        self.coefficients = nn.Parameter(scale * torch.randn(num_heads))

    @property
    def lengths(self) -> Float[Tensor, " h *x"]:
        """Lengths l_h [Å] (h,); (h, 3) where each direction has its own."""
        return self.log_length.exp()

    @property
    def weights(self) -> Float[Tensor, " h"]:
        """Weights w_h of the formulas."""
        return self.coefficients

    @abstractmethod
    def shape(self, delta: Float[Tensor, "p 3"]) -> Float[Tensor, "h p"]:
        """Return f_h(D) / w_h for displacements D [Å]."""

    @abstractmethod
    def transform(self, xi: Float[Tensor, "h s 3"]) -> Float[Tensor, "h s"]:
        """Return g_h(xi_h) / w_h [Å^3], each head at its own frequencies."""

    def finite_variance(self, proposal_width: float) -> bool:
        """Whether features with frequencies of N(0, width^2) have finite variance.

        Only a spectrum that falls faster than the proposal can say yes.
        """
        return False

    def kernel(self, delta: Float[Tensor, "p 3"]) -> Float[Tensor, "h p"]:
        """Return f_h(D) for displacements D [Å]."""
        return self.weights[:, None] * self.shape(delta)

    def density(self, xi: Float[Tensor, "*s 3"]) -> Float[Tensor, " h *s"]:
        """Return g_h(xi) [Å^3] for frequencies xi [cycles/Å]."""
        points = xi.reshape(1, -1, 3).expand(self.num_heads, -1, 3)
        return self.own_density(points).reshape(-1, *xi.shape[:-1])

    def own_density(self, xi: Float[Tensor, "h s 3"]) -> Float[Tensor, "h s"]:
        """Return g_h(xi_h) [Å^3], each head at its own frequencies [cycles/Å]."""
        return self.weights[:, None] * self.transform(xi)


class RadialKernelSpectrum(KernelSpectrum):
    """A `KernelSpectrum` of the distance alone: nothing depends on orientation."""

    rotation_invariant = True

    @abstractmethod
    def radial_shape(self, r: Float[Tensor, " p"]) -> Float[Tensor, "h p"]:
        """Return f_h(r) / w_h for distances r [Å]."""

    @abstractmethod
    def radial_transform(self, q: Float[Tensor, "#h s"]) -> Float[Tensor, "h s"]:
        """Return g_h(q_h) / w_h [Å^3] for frequencies q = |xi| [cycles/Å]."""

    def radial(self, r: Float[Tensor, " p"]) -> Float[Tensor, "h p"]:
        """Return f_h(r) for distances r [Å]."""
        return self.weights[:, None] * self.radial_shape(r)

    def radial_density(self, q: Float[Tensor, " p"]) -> Float[Tensor, "h p"]:
        """Return g_h(q) [Å^3] for frequencies q = |xi| [cycles/Å]."""
        return self.weights[:, None] * self.radial_transform(q[None])

    def shape(self, delta: Float[Tensor, "p 3"]) -> Float[Tensor, "h p"]:
        """Return f_h(D) / w_h for displacements D [Å]."""
        return self.radial_shape(distance(delta))

    def transform(self, xi: Float[Tensor, "h s 3"]) -> Float[Tensor, "h s"]:
        """Return g_h(xi_h) / w_h [Å^3], each head at its own frequencies."""
        return self.radial_transform(distance(xi))
