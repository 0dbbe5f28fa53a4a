"""What far heads gain from more frequencies: their error by tolerance and number."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Data

from molflt.analysis.attention import one_graph, received_by
from molflt.analysis.path_errors import relative_distance
from molflt.errors import UsageError
from molflt.model import FLTModel
from molflt.nn.far.attention import FarAttention
from molflt.nn.geometry import Geometry
from molflt.nn.masked import MaskedAttention

EXACT = 1e-12  # tolerance of the sums that stand for the exact ones of a crystal


@dataclass(frozen=True)
class FarErrors:
    r"""Fourier sums of the far heads of one layer against their dense twin.

        error    = |y^ - y| / |y|,   y the messages to all atoms, heads not yet mixed
        promised = tolerance |b| / |y|,
        b_i      = sum_t |w_t| sum_j |w_ij| |v_j|, j = i included

    The promise is what `far_tolerance` states (`molflt.nn.far.attention`); errors of
    single frequencies cancel, so they lie well below it. Of an atom alone y = 0: errors
    are |y^| then, and the promise is infinite. In perfect crystals vectors cancel, and
    the ratio of what rounding leaves of them is of order one.

    Attributes:
        layer: Index of the layer.
        tolerances: Values of `far_tolerance` (p,).
        num_frequencies: Reciprocal vectors G that each of them sums over (p,).
        scalars: Errors of scalar messages (p,), dimensionless.
        promised: What the tolerance promises for them (p,), dimensionless.
        vectors: Errors of vector messages (p,); None where there are none.
    """

    layer: int
    tolerances: NDArray[np.float64]
    num_frequencies: NDArray[np.int64]
    scalars: NDArray[np.float64]
    promised: NDArray[np.float64]
    vectors: NDArray[np.float64] | None


@torch.no_grad()
def far_errors(
    model: FLTModel,
    graph: Data,
    tolerances: Sequence[float] = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6),
) -> list[FarErrors]:
    """Return the error of far heads' Fourier sums for several tolerances, by layer.

    The exact messages are the closed form f(r_ij) in open systems and, in periodic
    ones, the sum over images with tolerance 1e-12. In float32, rounding leaves errors
    of some 1e-6; `model.double()` shows what lies below.

    Args:
        model: A model of the `masked` form with far heads.
        graph: One structure, small enough for n x n numbers.
        tolerances: Values of `far_tolerance`; the model's own plays no part.

    Raises:
        UsageError: The model has no far heads of the `masked` form.
        ValueError: A tolerance that far heads do not take.
    """
    out = []
    for layer, (attention, args) in enumerate(
        received_by(model, one_graph(model, graph))
    ):
        heads = attention.heads
        if not isinstance(heads, MaskedAttention) or heads.far is None:
            raise UsageError(
                "far_errors needs a model of form 'masked' with far heads; "
                "feature_errors is for form 'additive'."
            )
        x, geometry = args[0], args[2]
        out.append(_layer_errors(layer, heads.far, x, geometry, tolerances))
    return out


def _layer_errors(
    layer: int,
    far: FarAttention,
    x: Tensor,
    geometry: Geometry,
    tolerances: Sequence[float],
) -> FarErrors:
    exact = _with_tolerance(far, EXACT)(x, geometry, "dense")
    largest = _largest_messages(far, x) / exact[0].double().norm()
    counts, scalars, vectors = [], [], []
    for tolerance in tolerances:
        twin = _with_tolerance(far, tolerance)
        shells = far.mixture.shells
        half = geometry.lattice(shells, twin.kernel_tolerance).half()[2]
        counts.append(2 * int(half.count_nonzero()) - 1)  # G and -G; 0 is its own
        found = twin(x, geometry, "linear")
        scalars.append(relative_distance(found[0], exact[0]))
        if found[1] is not None and exact[1] is not None:
            vectors.append(relative_distance(found[1], exact[1]))
    steps = np.asarray(tolerances, dtype=np.float64)
    return FarErrors(
        layer,
        steps,
        np.asarray(counts, dtype=np.int64),
        np.asarray(scalars),
        steps * float(largest),
        np.asarray(vectors) if vectors else None,
    )


def _with_tolerance(far: FarAttention, tolerance: float) -> FarAttention:
    """Return the same heads, weights shared, with another tolerance."""
    if not 1e-12 <= tolerance <= 0.1:
        raise ValueError(
            f"tolerances must lie between 1e-12 and 0.1, received {tolerance:g}"
        )
    twin = copy.copy(far)
    twin.tolerance = tolerance
    return twin


def _largest_messages(far: FarAttention, x: Tensor) -> Tensor:
    """Return |b| of `FarErrors`."""
    q, k, value, *_ = far.project.split(x)
    reads = torch.einsum("ihe,jhe->ihj", q, k).abs()
    bound = torch.einsum("ihj,jhd->ihd", reads, value.abs())
    size = far.mixture.weights[: far.num_heads].abs().sum(1)
    return (bound * size[None, :, None]).double().norm()
