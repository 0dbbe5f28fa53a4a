"""Which checkpoint an interrupted run can go on from."""

from pathlib import Path
from typing import Any

from molflt.checkpoint import load
from molflt.errors import InputError
from molflt.model import FLTModel


def resumable_model(
    path: str | Path, config: dict[str, Any], *, tag_weighted: bool
) -> FLTModel:
    """Return the model of a checkpoint if it is the one that is being trained.

    Args:
        path: Checkpoint of the interrupted run.
        config: Options of the encoder that is to be trained.
        tag_weighted: Whether its readout has a weight per tag.

    Raises:
        InputError: Not a checkpoint, or one of another model.
    """
    model = load(path)
    found = model.encoder.config
    differing = [
        f"{key} {found.get(key)!r} instead of {value!r}"
        for key, value in config.items()
        if value != found.get(key)
    ]
    weighted = any(spec.readout == "tags" for spec in model.targets)
    if weighted != tag_weighted:
        differing.append(f"tag_weighted_readout {weighted} instead of {tag_weighted}")
    if differing:
        listed = ", ".join(differing)
        raise InputError(f"{path} cannot be resumed: its model has {listed}.")
    return model
