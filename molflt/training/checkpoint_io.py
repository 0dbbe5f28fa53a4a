"""Checkpoints written whole or not at all, and read without running their content."""

from pathlib import Path
from typing import Any

from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from molflt.checkpoint import model_record, write
from molflt.errors import InputError
from molflt.files import writing
from molflt.model import FLTModel


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, with two guarantees more.

    Lightning writes to the system's temporary folder and moves the file, which is a
    copy (and can stop half-way) where that folder is on another disk; here the file is
    written beside its target and renamed. Loading never unpickles code.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write `checkpoint` to `path`.

        Raises:
            InputError: The folder cannot be written or the disk is full.
        """
        path = Path(path)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        write(checkpoint, path)

    def load_checkpoint(
        self,
        path: Any,
        map_location: Any = lambda storage, location: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint of tensors and plain types; nothing else is accepted.

        Raises:
            InputError: The file holds a model but not the state of its training.
        """
        content = super().load_checkpoint(path, map_location, weights_only=True)
        # Without a record: bare weights, which processes hand to the one that has
        # started them.
        if "molflt" in content and "loops" not in content:
            raise without_training(path)
        return content


def record_in(
    checkpoint: dict[str, Any], model: FLTModel, *, checked: bool
) -> dict[str, Any]:
    """Return the record of a task's model, with the weights that a checkpoint has.

    Args:
        checkpoint: What Lightning is about to save.
        model: The model, whose own weights may be others than the average.
        checked: Whether it was already found that a checkpoint can hold it.

    Raises:
        UsageError: As `refuse_unsaveable`.
    """
    state = checkpoint["state_dict"]
    weights = {
        name.removeprefix("model."): value
        for name, value in state.items()
        if name.startswith("model.")
    }
    return model_record(model, checked=checked) | {"state": weights}


def without_training(path: Any) -> InputError:
    """Return the error that a checkpoint cannot be trained on."""
    return InputError(
        f"{path} holds a model without the state of its training; training goes on "
        "from the last.ckpt or best.ckpt of a run."
    )


class LastCheckpoint(ModelCheckpoint):
    """``last.ckpt``: the state after each validation and epoch, and where a run stops.

    Lightning saves after an epoch only where a validation is due: a run that
    `max_steps` ends elsewhere would leave an older state, or none.
    """

    def __init__(self) -> None:
        super().__init__(
            filename="last", enable_version_counter=False, save_on_exception=True
        )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, unless this step is saved."""
        super().on_train_epoch_end(trainer, pl_module)
        if not self._should_skip_saving_checkpoint(trainer):
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))
