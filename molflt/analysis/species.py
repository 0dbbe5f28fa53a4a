"""Which elements a model takes for similar: principal components of its embeddings."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molflt.analysis.attention import one_model
from molflt.errors import UsageError
from molflt.model import FLTModel


@dataclass(frozen=True)
class SpeciesMap:
    """Elements along the directions in which their embeddings differ most.

    Attributes:
        z: Atomic numbers (k,).
        places: Principal components (k, d), dimensionless; signs are arbitrary.
        explained: Share of the variance along each (d,).
    """

    z: NDArray[np.int64]
    places: NDArray[np.float64]
    explained: NDArray[np.float64]


def species_map(
    model: FLTModel,
    z: Sequence[int] | None = None,
    num_components: int | None = None,
) -> SpeciesMap:
    """Return the principal components of the rows E[z] of the embedding.

    Rows of elements that were never trained on are random: they are left out unless
    asked for.

    Args:
        model: The model.
        z: Atomic numbers; None: those of the training set.
        num_components: Number d of components; None: two, of two elements one.

    Raises:
        UsageError: Fewer than two elements, an unknown one, or more components than
            there can be.

    Source: singular value decomposition of the centred rows (Pearson, 1901).
    """
    table = (
        one_model(model)
        .encoder.embedding.species.weight.detach()
        .double()
        .cpu()
        .numpy()
    )
    if z is None:
        seen = {
            int(element)
            for statistics in model.statistics.values()
            for element in statistics.get("elements", [])
        }
        numbers = np.array(sorted(seen), dtype=np.int64)
    else:
        numbers = np.asarray(z)
    if not np.issubdtype(numbers.dtype, np.integer):
        raise UsageError(f"z must be atomic numbers, received {numbers.tolist()}.")
    if len(numbers) < 2:
        raise UsageError(
            "A map of species needs at least two elements; give z, as the checkpoint "
            "names fewer in its training set."
        )
    if numbers.min() < 1 or numbers.max() >= len(table):
        raise UsageError(f"z must be atomic numbers from 1 to {len(table) - 1}.")
    largest = min(len(numbers) - 1, table.shape[1])
    if num_components is None:
        num_components = min(2, largest)
    if not 1 <= num_components <= largest:
        raise UsageError(
            f"num_components must be at least 1 and, of {len(numbers)} elements, at "
            f"most {largest}, not {num_components}."
        )
    rows = table[numbers]
    rows = rows - rows.mean(axis=0)
    left, size, _ = np.linalg.svd(rows, full_matrices=False)
    places = left[:, :num_components] * size[:num_components]
    variance = size**2
    explained = variance[:num_components] / max(variance.sum(), 1e-300)
    return SpeciesMap(numbers, places, explained)
