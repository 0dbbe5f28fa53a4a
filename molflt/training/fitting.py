"""What a model takes from its training set before the first step."""

import logging

from molflt.data.dataset import GraphDataset
from molflt.data.statistics import Statistics, fit_all_statistics
from molflt.density import fit_density, refuse_untold
from molflt.model import FLTModel
from molflt.targets import TargetSpec

log = logging.getLogger(__name__)


def fit_to(model: FLTModel, dataset: GraphDataset) -> None:
    """Fit density features, references and spreads; forget tags that no atom has.

    What an encoder brings along stays: density features that were fitted before, and
    tags whose weights are frozen.

    Args:
        model: A model that was not trained, though its encoder may have been.
        dataset: Training structures with labels.

    Raises:
        UsageError: There are elements that density features do not tell apart.
        InputError: A label is missing or not finite.
    """
    embedding = model.encoder.embedding
    density = embedding.density
    if density is None or not density.is_fitted:
        fit_density(model.encoder, dataset)
    found = fit_all_statistics(dataset, model.targets, progress=None)
    for spec, statistics in zip(model.targets, found, strict=True):
        model.set_statistics(spec.name, statistics.plain())
        if density is not None:
            refuse_untold(density, *statistics.elements)
        if not statistics.tagged and embedding.tag.weight.requires_grad:
            embedding.forget_tags()
        log.info(
            "%s: %d training structures, standard deviation around %s %.4g %s.",
            spec.name,
            statistics.num_structures,
            _zero(spec, statistics),
            statistics.std,
            spec.unit,
        )
        if sentence := statistics.undetermined:
            log.warning(sentence)


def _zero(spec: TargetSpec, statistics: Statistics) -> str:
    """Return what a target's spread is counted from."""
    if spec.interaction:
        return "zero"
    return "references" if statistics.element_reference else "the mean"
