"""Fitting the density features of an encoder to structures, before it is trained."""

from collections.abc import Iterator

import numpy as np
import torch
from ase.data import chemical_symbols
from scipy.linalg import eigh
from torch import Tensor

from molflt.data.batching import collate
from molflt.data.dataset import GraphDataset
from molflt.encoder import FLTEncoder
from molflt.errors import UsageError
from molflt.nn.density.features import DensityFeatures

MAX_ATOMS = 20_000
"""Atoms that a fit looks at; enough for 300 components of five elements."""

SPREAD = 2.0
"""Standard deviation of a component, were they all alike: how fast they are learned."""

GRAPHS = 16  # structures at a time


@torch.no_grad()
def fit_density(encoder: FLTEncoder, dataset: GraphDataset) -> None:
    r"""Fit mean and U of an encoder's `DensityFeatures` to structures.

    For each element, over its atoms i in a sample spread over the whole set::

        mean = <[P_i, T_i]>
        U    = a (principal components of [P_i, T_i] - mean),   <|b_i|^2> = 4 K

    where P and T, the sums over single neighbours and over pairs of them, are first
    brought to the same total variance, and a is one number for all K components. Labels
    are not looked at. Encoders without such features are left as they are.

    Args:
        encoder: The encoder.
        dataset: Structures to be trained on.

    Raises:
        UsageError: The structures have elements that the features do not tell apart.
    """
    features = encoder.embedding.density
    if features is None:
        return
    moments = {number: _Moments(features.num_sums) for number in features.numbers}
    for z, sums in _sampled(encoder, features, dataset):
        for number in z.unique().tolist():
            refuse_untold(features, number)
            moments[number].add(sums[z == number])
    for row, number in enumerate(features.numbers):
        if moments[number].count > 1:
            features.set_components(row, *_components(moments[number], features))


def refuse_untold(features: DensityFeatures, *numbers: int) -> None:
    """Refuse elements that density features do not tell apart.

    Raises:
        UsageError: Names the first of them.
    """
    for number in numbers:
        if number not in features.numbers:
            known = "".join(chemical_symbols[n] for n in features.numbers)
            raise UsageError(
                f"The training structures have {chemical_symbols[number]}, which "
                f"is not among density_elements ({known}); add it."
            )


class _Moments:
    """Count, sum and sum of outer products of the numbers of an element's atoms."""

    def __init__(self, size: int) -> None:
        self.count = 0
        self.total = torch.zeros(size, dtype=torch.float64)
        self.products = torch.zeros(size, size, dtype=torch.float64)

    def add(self, sums: Tensor) -> None:
        """Take atoms (n, k) into account."""
        self.count += len(sums)
        self.total += sums.sum(0)
        self.products += sums.T @ sums


def _sampled(
    encoder: FLTEncoder, features: DensityFeatures, dataset: GraphDataset
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield atomic numbers and sums of batches of a sample, in float64."""
    order = np.random.default_rng(0).permutation(len(dataset))
    seen = 0
    for begin in range(0, len(order), GRAPHS):
        graphs = [dataset[int(index)] for index in order[begin : begin + GRAPHS]]
        batch = encoder.seen(collate(graphs))
        pairs = encoder.geometry(batch).pairs
        assert pairs is not None
        densities = features.density(features.rows(batch.z.long()), pairs)
        yield batch.z, features.sums(*densities).double()
        seen += len(batch.z)
        if seen >= MAX_ATOMS:
            return


def _components(moments: _Moments, features: DensityFeatures) -> tuple[Tensor, Tensor]:
    """Return U and the mean of an element."""
    mean = moments.total / moments.count
    covariance = moments.products / moments.count - torch.outer(mean, mean)
    variance = covariance.diagonal()
    scale = torch.ones_like(mean)
    for part in (slice(0, features.num_single), slice(features.num_single, None)):
        scale[part] = 1 / variance[part].sum().clamp(min=1e-12).sqrt()
    size, count = features.num_sums, features.components
    values, vectors = eigh(
        (covariance * torch.outer(scale, scale)).numpy(),
        subset_by_index=[size - count, size - 1],
    )
    spread = np.sqrt(np.clip(values, 0, None).sum() / count) / SPREAD
    projection = scale.unsqueeze(1) * torch.from_numpy(vectors / max(spread, 1e-12))
    return projection, mean
