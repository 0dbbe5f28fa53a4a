"""FLTAttention: a layer's attention, in the masked or the paper's additive form."""

from typing import Literal

from torch import nn

from molflt.nn.additive import AdditiveAttention, Estimator
from molflt.nn.geometry import Geometry
from molflt.nn.heads import Messages, Path, check_features
from molflt.nn.masked import MaskedAttention
from molflt.nn.spectra.by_name import (
    Spectrum,
    SpectrumName,
    build_spectrum,
    proposal_width,
)
from molflt.nn.spectra.fourier_rpe import FourierRPE
from molflt.nn.spectra.frequencies import Sampling
from molflt.nn.spectra.shells import RadialShells
from molflt.typing import NodeScalars, NodeVectors

Form = Literal["masked", "additive"]

NEAR_MIN_WIDTH = 0.02  # cycles/Å; near heads end at their cutoff, not by their width


class FLTAttention(nn.Module):
    r"""Attention of atom i to atom j with a learned encoding f(r_i - r_j).

    | form | weight of j for i | normalised | vectors |
    |---|---|---|---|
    | masked | softplus(q_i).softplus(k_j) f_h(r_i - r_j) / (2 d_q) | no | yes |
    | additive | exp(q_i.k_j / sqrt(d) + f_h(r_i - r_j)) | by the row sum | no |

    Args:
        width: Channels c of the scalar features.
        form: "masked" or "additive".
        num_near_heads: Heads whose f is zero beyond `cutoff` (`masked`).
        num_far_heads: Heads whose f is smooth and of any reach. All heads, near and
            far, of `additive` are of this kind.
        cutoff: Support of the near heads [Å].
        vector_width: Channels of the vector features (`masked` only); 0: none.
        near_shells: Radial shells of the near heads; None: 32 up to 3 cycles/Å.
        far_shells: Radial shells of the far heads; None: 8 up to 0.25 cycles/Å.
        head_width: Scalar value channels of a near head.
        vector_head_width: Vector value channels of a near head.
        matrix_head_width: Channels of a near head for symmetric traceless matrices,
            which see angles; 0, or no vector features: none.
        far_head_width: Value channels of a far head.
        estimator: `additive`: "softmax" or "favor".
        spectrum: `additive`: "radial", "free", "gaussian", "laplace", "matern", "box",
            "triangle" or "ball", see `molflt.nn.spectra`; of the last six "favor" takes
            "gaussian" alone. Or a spectrum of one's own for all heads
            (`molflt.nn.RadialKernelSpectrum`, `molflt.nn.KernelSpectrum`).
        num_frequencies: `additive`: frequencies of each head.
        num_features: `additive`: features of "favor".
        sampling: `additive`: how frequencies are drawn.
        seed: Seed of frequencies and features.
        far_tolerance: `masked`: error of far heads relative to the sum of absolute
            values, where they are not evaluated pair by pair.

    Raises:
        ValueError: Options that contradict each other.

    Source: arXiv 2302.01925, Def. 3.1 (additive); arXiv 2107.07999, Alg. 1 (masked).
    """

    def __init__(
        self,
        width: int,
        form: Form = "masked",
        num_near_heads: int = 6,
        num_far_heads: int = 2,
        cutoff: float = 5.0,
        vector_width: int = 64,
        near_shells: RadialShells | None = None,
        far_shells: RadialShells | None = None,
        head_width: int = 16,
        vector_head_width: int = 8,
        matrix_head_width: int = 0,
        far_head_width: int = 8,
        estimator: Estimator = "softmax",
        spectrum: SpectrumName | Spectrum = "radial",
        num_frequencies: int = 32,
        num_features: int = 64,
        sampling: Sampling = "sobol",
        seed: int = 0,
        far_tolerance: float = 1e-4,
    ) -> None:
        super().__init__()
        if form not in ("masked", "additive"):
            raise ValueError(f"form must be 'masked' or 'additive', received {form!r}")
        if form == "additive" and vector_width:
            raise ValueError("form 'additive' has no vectors; set vector_width to 0")
        if far_shells is None:
            far_shells = RadialShells(8, band=0.25, min_width=0.02)
        self.vector_width = vector_width
        self.num_contractions = 0
        self.heads: MaskedAttention | AdditiveAttention
        if form == "masked":
            self.heads = MaskedAttention(
                width,
                vector_width,
                num_near_heads=num_near_heads,
                num_far_heads=num_far_heads,
                near_shells=near_shells or RadialShells(32, 3.0, NEAR_MIN_WIDTH),
                far_shells=far_shells,
                cutoff=cutoff,
                head_width=head_width,
                vector_head_width=vector_head_width,
                matrix_head_width=matrix_head_width,
                far_head_width=far_head_width,
                far_tolerance=far_tolerance,
            )
            if vector_width:
                self.num_contractions = num_near_heads * matrix_head_width
            return
        num_heads = num_near_heads + num_far_heads
        density = (
            build_spectrum(spectrum, num_heads, far_shells)
            if isinstance(spectrum, str)
            else spectrum
        )
        if density.num_heads != num_heads:
            raise ValueError(
                f"the spectrum has {density.num_heads} heads, the attention {num_heads}"
            )
        proposal = proposal_width(far_shells)
        rpe = FourierRPE(density, num_frequencies, proposal, sampling, seed)
        self.heads = AdditiveAttention(width, rpe, estimator, num_features, seed + 1)

    def forward(
        self,
        x: NodeScalars,
        vec: NodeVectors | None,
        geometry: Geometry,
        path: Path = "auto",
    ) -> Messages:
        """Return the updates of scalar (n, c) and vector features (n, 3, w) or None.

        Args:
            x: Scalar features.
            vec: Vector features, or None without vectors.
            geometry: Places of the atoms; near heads need its pairs set.
            path: `masked`: "auto", "dense" or "linear" evaluation of one function.

        Raises:
            ValueError: Vectors of another width, or pairs of a smaller cutoff.
        """
        check_features(x, vec, geometry, self.vector_width)
        if isinstance(self.heads, AdditiveAttention):
            return Messages(self.heads(x, geometry))
        return self.heads(x, vec, geometry, path)
