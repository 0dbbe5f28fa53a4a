"""What files of torch may hold that are read without unpickling anything else."""

import io
import pickle
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch.serialization import get_unsafe_globals_in_checkpoint

from molflt.errors import UsageError


def plain(value: Any) -> Any:
    """Return a value with Python's numbers for NumPy's.

    Options from a grid and references from a fit are as good as Python's, and a file
    that had them could not be read. Looked into are dictionaries, lists and tuples.
    """
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is dict:
        return {plain(key): plain(entry) for key, entry in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(plain, value))
    return value


def save(content: Any, file: IO[bytes]) -> None:
    """Write `plain` content as `torch.save` does.

    Raises:
        UsageError: It holds something that cannot be written.
    """
    try:
        torch.save(plain(content), file)
    except (pickle.PickleError, AttributeError, TypeError) as error:
        raise _refusal(str(error).rstrip(".")) from error


def refuse_unreadable(file: str | Path | IO[bytes]) -> None:
    """Refuse what was written, if it holds more than tensors and plain values.

    Raises:
        UsageError: Names the classes that reading would refuse.
    """
    if found := get_unsafe_globals_in_checkpoint(file):
        raise _refusal(f"it would have {', '.join(sorted(found))}")


def refuse_unwritable(content: Any) -> None:
    """Refuse content of a checkpoint that could not be written or read.

    Raises:
        UsageError: Says what there is in it.
    """
    file = io.BytesIO()
    save(content, file)
    file.seek(0)
    refuse_unreadable(file)


def _refusal(reason: str) -> UsageError:
    return UsageError(
        "A checkpoint can hold numbers, text, tensors, and lists and dictionaries of "
        "them in options, statistics, origin and states of callbacks, and no more "
        f"({reason})."
    )
