"""Files that may be compressed, by the end of their names."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

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
        OSError: It cannot be opened; reading it raises one of `UNREADABLE`.
    """
    return _OPENERS.get(path.suffix.lower(), open)(path, "rb")


def open_text(
    path: Path, encoding: str = "utf-8", newline: str | None = None
) -> IO[str]:
    """Open a file to read its text, as `open`.

    Raises:
        OSError: It cannot be opened; reading it raises one of `UNREADABLE`.
    """
    opener = _OPENERS.get(path.suffix.lower(), open)
    return opener(path, "rt", encoding=encoding, newline=newline)
