"""Read named arrays from an .npz of outside origin, without pickle."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from molflt.errors import InputError


def read_npz(path: str | Path, names: Sequence[str], what: str) -> list[np.ndarray]:
    """Return the arrays `names` of the file.

    Args:
        path: The .npz.
        names: Arrays that it must have.
        what: What the file should be, for the error: "a stored split".

    Raises:
        InputError: There is no such file, it is damaged, lacks an array, or an array
            holds Python objects.
    """
    try:
        # numpy leaves a file open whose contents it cannot make sense of.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return [np.asarray(arrays[name]) for name in names]
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file.") from error
    except (
        OSError,
        ValueError,  # not an array, or one that only pickle could read
        TypeError,  # a single array, which is no context
        AttributeError,
        KeyError,
        EOFError,
        MemoryError,  # a shape that no file could fill
        RuntimeError,  # encrypted
        NotImplementedError,  # another compression
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise InputError(f"{path} is not {what} ({error}).") from error
