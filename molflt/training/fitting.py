"""What a model takes from its training set before the first step."""

import logging
from collections.abc import Sequence

import torch
from pytorch_lightning import Trainer

from molflt.data.datamodule import GraphDataModule
from molflt.data.dataset import GraphDataset
from molflt.data.statistics import Statistics, fit_all_statistics
from molflt.density import fit_density, refuse_untold
from molflt.errors import UsageError
from molflt.model import FLTEncoder, FLTModel
from molflt.targets import TargetSpec
from molflt.training.labels import tell_missing
from molflt.training.pretrained import Pretrained

log = logging.getLogger(__name__)


def data_of(trainer: Trainer) -> GraphDataModule:
    """Return the data module of a trainer.

    Raises:
        UsageError: It has none, or another kind.
    """
    data = trainer.datamodule  # type: ignore[attr-defined]
    if not isinstance(data, GraphDataModule):
        raise UsageError(
            "FLTTask needs a molflt.data.GraphDataModule (datamodule=...), which names "
            "targets and splits."
        )
    return data


def starting_model(
    encoder: FLTEncoder, targets: Sequence[TargetSpec], dataset: GraphDataset
) -> FLTModel:
    """Return the model that is to be trained, fitted to its training set.

    Args:
        encoder: Architecture and first weights; `Pretrained`: those of a checkpoint.
        targets: What it predicts.
        dataset: Training structures with labels.

    Raises:
        UsageError: Elements or targets do not go with the encoder.
        InputError: A label is missing or not finite.
    """
    # Lightning makes its device the default; encoder and data are still on the CPU.
    with torch.device("cpu"):
        if isinstance(encoder, Pretrained):
            return encoder.adapted(targets, dataset)
        model = FLTModel(encoder, targets)
        fit_to(model, dataset)
        return model


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
    tell_missing(found, len(dataset))
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
