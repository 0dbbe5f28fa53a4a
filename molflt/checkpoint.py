"""Checkpoints: tensors and plain values that rebuild a model without pickle."""

import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from molflt.device import choose_device
from molflt.encoder_options import effective
from molflt.errors import InputError, UsageError
from molflt.files import atomic_path
from molflt.model import FLTEncoder, FLTModel
from molflt.own_classes import (
    foreign_encoder,
    refuse_foreign_readouts,
    refuse_lost_options,
    refuse_other_class,
)
from molflt.plain_values import refuse_unreadable, refuse_unwritable, save
from molflt.pretrained import NAMES, checkpoint_path
from molflt.replaced_parts import refuse_replaced_parts
from molflt.targets import TargetSpec
from molflt.version import __version__

FORMAT = 1


def refuse_unsaveable(model: FLTModel) -> None:
    """Refuse a model that a checkpoint would not bring back as it is.

    Raises:
        UsageError: It is no `FLTModel`, a readout is not the one that its target names,
            an option of the encoder's class is not in its `config` or no plain value,
            or a part was replaced.
    """
    if not isinstance(model, FLTModel):
        raise UsageError(
            f"A checkpoint is made of an FLTModel, not of {type(model).__name__}; of a "
            "wrapper give what it wraps, which torch's have as .module."
        )
    refuse_foreign_readouts(model)
    refuse_lost_options(model.encoder)
    refuse_unwritable(model.encoder.config)
    refuse_replaced_parts(model)


def model_record(model: FLTModel, *, checked: bool = False) -> dict[str, Any]:
    """Return all that is needed to rebuild `model`, as tensors and plain types.

    Classes are not named: a record outlives a renaming of the package's internals. The
    name of an encoder's class that is not molflt's is there to be told; who loads it
    has to give it.

    Args:
        model: The model.
        checked: Whether `refuse_unsaveable` has already looked at it.

    Raises:
        UsageError: As `refuse_unsaveable`.
    """
    if not checked:
        refuse_unsaveable(model)
    return {
        "format": FORMAT,
        "version": __version__,
        "encoder": dict(model.encoder.config),
        "encoder_class": foreign_encoder(type(model.encoder)),
        "targets": [spec.plain() for spec in model.targets],
        "statistics": {name: dict(s) for name, s in model.statistics.items()},
        "origin": dict(model.origin),
        "state": {
            name: value.detach().cpu() for name, value in model.state_dict().items()
        },
    }


def model_from_record(
    record: dict[str, Any],
    where: str = "The record",
    encoder_class: type[FLTEncoder] = FLTEncoder,
) -> FLTModel:
    """Rebuild a model from `model_record`, in evaluation mode on the CPU.

    Args:
        record: The record.
        where: File it came from, for errors.
        encoder_class: Class of its encoder, made from its `config`.

    Raises:
        InputError: The record is of a newer format, incomplete or inconsistent, or its
            encoder is of another class.
    """
    version = record.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise InputError(
            f"{where} was written by molflt {record.get('version')} in "
            f"checkpoint format {version}, this molflt ({__version__}) reads formats "
            f"up to {FORMAT}; install a newer molflt."
        )
    if version != FORMAT:
        raise InputError(f"{where} has the unknown checkpoint format {version!r}.")
    known = str(record.get("encoder_class", ""))
    refuse_other_class(known, encoder_class, where)
    try:
        targets = [TargetSpec.from_plain(fields) for fields in record["targets"]]
        model = FLTModel(encoder_class(**effective(record["encoder"])), targets)
        for name, statistics in record["statistics"].items():
            model.set_statistics(name, statistics)
        model.to(record["state"]["encoder.norm.weight"].dtype)
        own = model.state_dict()
        for name, value in record["state"].items():
            if (
                name in own
                and value.is_floating_point() != own[name].is_floating_point()
            ):
                raise ValueError(f"{name} has the type {value.dtype}")
        model.load_state_dict(record["state"])
        model.origin = dict(record.get("origin", {}))
        if bad := [n for n, v in model.state_dict().items() if not v.isfinite().all()]:
            raise ValueError(f"{bad[0]} is not finite")
    except (
        KeyError,
        TypeError,
        ValueError,
        RuntimeError,
        AttributeError,
        IndexError,
    ) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{where} is a damaged molflt checkpoint ({reason})."
        ) from error
    return model.eval()


def save_model(
    model: FLTModel, path: str | Path, origin: dict[str, Any] | None = None
) -> None:
    """Write a checkpoint of `model` that `load` reads; whole or not at all.

    Args:
        model: The model.
        path: File to be written.
        origin: How it was trained, as plain values; None: the model's `origin`.

    Raises:
        UsageError: The model has parts or values that `load` would not bring back.
        InputError: The file cannot be written.
    """
    record = model_record(model)
    if origin is not None:
        record["origin"] = origin
    write({"molflt": record}, path)


def write(content: dict[str, Any], path: str | Path) -> None:
    """Write tensors and plain values to a file, whole or not at all.

    Numbers of NumPy become Python's.

    Raises:
        UsageError: The content has other values, which reading would refuse.
        InputError: The file cannot be written or the disk is full.
    """
    # An open file: from a path torch makes a name inside the file, which it may refuse.
    with atomic_path(path) as temporary:
        with open(temporary, "wb") as file:
            try:
                save(content, file)
            except RuntimeError as error:
                # What torch says when the end cannot be written, after the true reason.
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise InputError(
                    f"Cannot write {path}: {_first_line(error)}."
                ) from error
        refuse_unreadable(temporary)


def load(
    path: str | Path,
    device: str | torch.device = "cpu",
    encoder_class: type[FLTEncoder] = FLTEncoder,
) -> FLTModel:
    """Read a model from a molflt checkpoint or from a Lightning one molflt wrote.

    Only tensors and plain values are read (``weights_only=True``); nothing in the file
    is executed.

    Args:
        path: Checkpoint, or the name of a shipped one, see `molflt.pretrained`.
        device: Where the model is put; "auto": a GPU if there is one.
        encoder_class: Your subclass of `FLTEncoder` that the checkpoint was made with;
            it takes the options in its `config`.

    Raises:
        InputError: No such file, not a checkpoint, another program's, or its encoder is
            of another class.
        UsageError: There is no such device here, or `path` is no path.
    """
    if not isinstance(path, str | Path):
        raise UsageError(
            f"A checkpoint is given by its path, not by {type(path).__name__}."
        )
    where = choose_device(device)
    # Weights made in inference mode have no forces, ever; and whatever torch's default
    # device, even "meta", a model is rebuilt on the CPU.
    with torch.inference_mode(False), torch.device("cpu"):
        return model_from_record(read_record(path), str(path), encoder_class).to(where)


def read_record(path: str | Path) -> dict[str, Any]:
    """Return the model record of a checkpoint file.

    Raises:
        InputError: As `load`.
    """
    path = checkpoint_path(path)
    if not path.exists():
        raise InputError(
            f"{path} does not exist; give the path of a checkpoint, or "
            f"{' or '.join(NAMES)}, which come with molflt."
        )
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the path of a checkpoint file.")
    _check_sums(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, about pickles it then refuses
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} is not a molflt checkpoint: it is no torch file or holds more "
            "than tensors and plain values, which molflt does not load."
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError, LookupError) as error:
        # An unpickler's LookupError has but the byte at which it stopped.
        no_torch = isinstance(error, LookupError)
        reason = "it is no torch file" if no_torch else _first_line(error)
        raise InputError(f"{path} is not a molflt checkpoint ({reason}).") from error
    record = content.get("molflt") if isinstance(content, dict) else None
    if not isinstance(record, dict):
        raise InputError(
            f"{path} is not a molflt checkpoint: it has no 'molflt' entry, so another "
            "program wrote it."
        )
    return record


def _check_sums(path: Path) -> None:
    """Compare the contents of a checkpoint with its checksums; torch does not.

    Raises:
        InputError: They differ.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError):
        return  # no archive that torch wrote, as reading it will say
    if damaged is not None:
        raise InputError(
            f"{path} is damaged: {damaged} has another checksum; copy or train it "
            "again."
        )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
