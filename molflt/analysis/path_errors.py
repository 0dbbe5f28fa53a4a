"""How far the linear ways to evaluate attention are from the dense ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Data

from molflt.analysis.attention import attentions, one_graph, received_by
from molflt.errors import UsageError
from molflt.model import FLTModel
from molflt.nn.additive import AdditiveAttention
from molflt.nn.spectra.fourier_rpe import FourierRPE
from molflt.nn.spectra.frequencies import Sampling


@dataclass(frozen=True)
class PathErrors:
    """Linear against dense path of one masked layer, on the same features.

    Attributes:
        layer: Index of the layer.
        scalars: |linear - dense| / |dense| of its scalar messages, dimensionless.
        vectors: The same of its vector messages; None where there are none.

    Messages that cancel, as vectors at the sites of a perfect crystal, are rounding on
    either path: their ratio is of order one and says nothing.
    """

    layer: int
    scalars: float
    vectors: float | None


@dataclass(frozen=True)
class FeatureErrors:
    """Positive random features against the exact softmax, in one additive layer.

    Attributes:
        layer: Index of the layer.
        num_features: Numbers m of features (p,).
        errors: |estimate - exact| / |exact| of the layer's messages, one for each
            independent draw (p, draws), dimensionless.
    """

    layer: int
    num_features: NDArray[np.int64]
    errors: NDArray[np.float64]


@torch.no_grad()
def path_errors(model: FLTModel, graph: Data) -> list[PathErrors]:
    """Return how far the linear path of each masked layer is from its dense path.

    Both are the same function: near heads differ by rounding, far heads by the lattice
    frequencies beyond their band and by rounding.

    Args:
        model: A model of the `masked` form.
        graph: One structure, small enough for n x n numbers.

    Raises:
        UsageError: The form is `additive`, whose estimators are different functions.
    """
    if any(isinstance(each.heads, AdditiveAttention) for each in attentions(model)):
        raise UsageError(
            "Form 'additive' has one path for each estimator; feature_errors compares "
            "the two."
        )
    out = []
    received = received_by(model, one_graph(model, graph))
    for layer, (attention, args) in enumerate(received):
        dense, linear = (attention(*args[:3], path) for path in ("dense", "linear"))
        vectors = None
        if dense.vectors is not None:
            vectors = relative_distance(linear.vectors, dense.vectors)
        out.append(
            PathErrors(layer, relative_distance(linear.scalars, dense.scalars), vectors)
        )
    return out


@torch.no_grad()
def feature_errors(
    model: FLTModel,
    graph: Data,
    num_features: Sequence[int] = (16, 32, 64, 128, 256, 512),
    num_frequencies: int | None = None,
    num_draws: int = 4,
    sampling: Sampling = "sobol",
    seed: int = 0,
) -> list[FeatureErrors]:
    """Return how far FAVOR+ is from the exact softmax of the same weights.

    Each draw has new frequencies of f and new features of the softmax kernel. Where
    logits are small the error falls as m^(-1/2), down to what the frequencies leave;
    with large logits its tails are heavy and it falls more slowly.

    Args:
        model: A model of the `additive` form, of either estimator.
        graph: One open structure, small enough for n x n numbers.
        num_features: Numbers m of features.
        num_frequencies: Frequencies of each head; None: as many as the model has.
        num_draws: Independent draws.
        sampling: How frequencies are drawn.
        seed: Seed of the first draw.

    Raises:
        UsageError: The form is `masked`, the structure is periodic, or features of the
            spectrum have infinite variance.

    Source: Choromanski et al., arXiv 2302.01925, Thm. 4.1; arXiv 2009.14794.
    """
    out = []
    for layer, (attention, args) in enumerate(
        received_by(model, one_graph(model, graph))
    ):
        heads = attention.heads
        if not isinstance(heads, AdditiveAttention):
            raise UsageError(
                "Masked attention is not estimated by random features; see path_errors."
            )
        x, geometry = args[0], args[2]
        exact = _twin(heads, heads.rpe)(x, geometry)
        errors = np.zeros((len(num_features), num_draws))
        for draw in range(num_draws):
            first = seed + 2 * draw
            rpe = FourierRPE(
                heads.rpe.spectrum,
                num_frequencies or heads.rpe.num_frequencies,
                heads.rpe.proposal_width,
                sampling,
                first,
            ).to(x)
            for row, count in enumerate(num_features):
                estimate = _twin(heads, rpe, count, first + 1).to(x)(x, geometry)
                errors[row, draw] = relative_distance(estimate, exact)
        out.append(FeatureErrors(layer, np.asarray(num_features), errors))
    return out


def _twin(
    heads: AdditiveAttention, rpe: FourierRPE, num_features: int = 0, seed: int = 0
) -> AdditiveAttention:
    """Return attention with the same weights, exact or with `num_features`."""
    width = heads.num_heads * heads.head_width
    if num_features:
        twin = AdditiveAttention(width, rpe, "favor", num_features, seed)
    else:
        twin = AdditiveAttention(width, rpe, "softmax")
    twin.project, twin.mix = heads.project, heads.mix
    return twin


def relative_distance(value: Tensor, expected: Tensor) -> float:
    """Return |value - expected| / |expected|; |value| where nothing is expected.

    Args:
        value: Numbers of any shape.
        expected: What they should be.
    """
    error, size = (value - expected).double().norm(), expected.double().norm()
    return float(error / size) if size > 0 else float(error)
