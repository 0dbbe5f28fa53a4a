"""Files that may be compressed, by the end of their names."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from molflt.errors import InputError

_OPENERS: dict[str, Callable[..., IO[Any]]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}

UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""What reading raises: no permission, cut short, not compressed that way."""


def suffix_of(path: Path) -> str:
    """Return the end of a name in small letters: ``.sdf`` of ``a.sdf.gz``, too."""
    last = path.suffix.lower()
    return Path(path.stem).suffix.lower() if last in _OPENERS else last


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file to read its bytes.

    Raises:
        InputError: There is no such file.
        OSError: It cannot be opened; reading it raises one of `UNREADABLE`.
    """
    return _open(path, "rb")


def open_text(path: Path, newline: str | None = None) -> IO[str]:
    """Open a file to read its text, without the mark that spreadsheets begin it with.

    Raises:
        InputError: There is no such file.
        OSError: It cannot be opened; reading it raises one of `UNREADABLE`.
    """
    return _open(path, "rt", encoding="utf-8-sig", newline=newline)


def _open(path: Path, mode: str, **options: str | None) -> IO[Any]:
    if not path.is_file():
        raise InputError(f"No such file: {path}.")
    return _OPENERS.get(path.suffix.lower(), open)(path, mode, **options)
