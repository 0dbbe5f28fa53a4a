"""Spectra of kernels that end: box, triangle and ball, the local encodings."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from molflt.nn.spectra.kernel_spectrum import KernelSpectrum, RadialKernelSpectrum
from molflt.nn.spectra.shells import sinc, sinc_slope


def step(x: Tensor) -> Tensor:
    """Return 1 where x >= 0, else 0, with derivative 0 everywhere."""
    return (1 + torch.sign(x)).clamp(max=1)


class Box(KernelSpectrum):
    r"""The box: 1 inside, 0 outside, with a half-width v for each direction.

        f_h(D)  = w_h prod_j 1{|D_j| <= v_hj}
        g_h(xi) = w_h prod_j sin(2 pi v_hj xi_j) / (pi xi_j)

    with D and v in Å and xi in cycles/Å, so g in Å^3; g(0) = w prod_j 2 v_j. The axes
    are those of space: what is built from f depends on orientation. f has no derivative
    by v or D almost everywhere, its gradient is 0: through f (`softmax`) half-widths
    are not learned, and no force comes from it; an energy jumps where an atom enters.
    g has gradients by w and v everywhere.

    f jumps, so g is not absolutely integrable: random features with frequencies of a
    Gaussian proposal have no mean, let alone a finite variance. Use the closed form f.

    Args:
        num_heads: Number of heads h.
        length: Initial half-width v [Å], the middle one of the heads.
        scale: Standard deviation of f_h(0) over heads at initialisation.

    Raises:
        ValueError: `length` or `scale` is not positive and finite.

    Source: arXiv 2302.01925, Sec. 4 (the local encoding that is not continuous).
    """

    reach = math.sqrt(3)
    num_lengths = 3

    def shape(self, delta: Float[Tensor, "p 3"]) -> Float[Tensor, "h p"]:
        """Return 1 inside the box of a head, 0 outside, for displacements D [Å]."""
        return _product(step(self.lengths[:, None] - delta.abs()))

    def transform(self, xi: Float[Tensor, "h s 3"]) -> Float[Tensor, "h s"]:
        """Return g_h(xi_h) / w_h [Å^3], each head at its own frequencies."""
        v = self.lengths[:, None]
        return _product(2 * v * sinc(2 * math.pi * v * xi))


class Triangle(KernelSpectrum):
    r"""The continuous local encoding: it falls linearly to 0 along each direction.

        f_h(D)  = w_h prod_j max(v_hj - |D_j|, 0),   w_h = c_h / prod_j v_hj
        g_h(xi) = w_h prod_j (sin(pi v_hj xi_j) / (pi xi_j))^2

    with D and v in Å and xi in cycles/Å, so f without unit and g in Å^3. Learned are v
    and c = f(0): with w itself, of the size of v^-3, f would change v^3 times as fast.
    g(0) = w prod_j v_j^2, and g has the sign of w. The axes are those of space: what is
    built from f depends on orientation. Every parameter has a gradient of f and of g;
    f has kinks where D_j = 0, where the gradient by D_j is set to 0, and where it ends.

    Random features with frequencies of a Gaussian proposal are unbiased, but g falls
    algebraically, so that their variance is infinite: use the closed form f.

    Args:
        num_heads: Number of heads h.
        length: Initial half-width v [Å], the middle one of the heads.
        scale: Standard deviation of f_h(0) over heads at initialisation.

    Raises:
        ValueError: `length` or `scale` is not positive and finite.

    Source: arXiv 2302.01925, Sec. 4 (the continuous local encoding).
    """

    reach = math.sqrt(3)
    num_lengths = 3

    @property
    def weights(self) -> Float[Tensor, " h"]:
        """Weights w_h = c_h / prod_j v_hj [1/Å^3]."""
        return self.coefficients * torch.exp(-self.log_length.sum(dim=-1))

    def shape(self, delta: Float[Tensor, "p 3"]) -> Float[Tensor, "h p"]:
        """Return prod_j max(v_hj - |D_j|, 0) [Å^3] for displacements D [Å]."""
        return _product((self.lengths[:, None] - delta.abs()).clamp(min=0))

    def transform(self, xi: Float[Tensor, "h s 3"]) -> Float[Tensor, "h s"]:
        """Return g_h(xi_h) / w_h [Å^6], each head at its own frequencies."""
        v = self.lengths[:, None]
        return _product((v * sinc(math.pi * v * xi)).square())


class Ball(RadialKernelSpectrum):
    r"""The ball: 1 up to a distance R, 0 beyond.

        f_h(r) = w_h 1{r <= R_h}
        g_h(q) = w_h (sin y - y cos y) / (2 pi^2 q^3),   y = 2 pi R_h q,   q = |xi|

    with r and R in Å and q in cycles/Å, so g in Å^3; g(0) = w 4 pi R^3 / 3. Invariant
    under rotation and mirroring, unlike `Box`. f has no derivative by R or r almost
    everywhere, its gradient is 0: through f (`softmax`) radii are not learned, and no
    force comes from it; an energy jumps where an atom enters. g has gradients by w and
    R everywhere.

    f jumps, so g is not absolutely integrable: random features with frequencies of a
    Gaussian proposal have no mean, let alone a finite variance. Use the closed form f.

    Args:
        num_heads: Number of heads h.
        length: Initial radius R [Å], the middle one of the heads.
        scale: Standard deviation of f_h(0) over heads at initialisation.

    Raises:
        ValueError: `length` or `scale` is not positive and finite.

    Source: the box of arXiv 2302.01925, Sec. 4, with the Euclidean norm.
    """

    reach = 1.0

    def radial_shape(self, r: Float[Tensor, " p"]) -> Float[Tensor, "h p"]:
        """Return 1 up to the radius of a head, 0 beyond, for distances r [Å]."""
        return step(self.lengths[:, None] - r)

    def radial_transform(self, q: Float[Tensor, "#h s"]) -> Float[Tensor, "h s"]:
        """Return g_h(q_h) / w_h [Å^3] for frequencies q = |xi| [cycles/Å]."""
        radius = self.lengths[:, None]
        return -4 * math.pi * radius**3 * sinc_slope(2 * math.pi * radius * q)


def _product(x: Float[Tensor, "h s 3"]) -> Float[Tensor, "h s"]:
    """Return the product over the last axis; its derivatives know no division."""
    return x[..., 0] * x[..., 1] * x[..., 2]
