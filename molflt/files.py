"""Whole files or none: write beside the target, fsync, rename."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from molflt.errors import InputError, UsageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def writing(path: object) -> Iterator[None]:
    """Name the file or folder in errors of the system: full disk, no permission.

    Raises:
        InputError: In the place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"Cannot write {path}: {error.strerror or error}.") from error


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; rename it there on success.

    The temporary name keeps the suffix of `path`, so that writers which look at the
    suffix (ASE, matplotlib) choose the right format. After an exception (a full disk,
    Ctrl-C) the temporary file is removed and an older file at `path` is untouched. A
    link stays one: the file that it points to is written.

    Args:
        path: The file to be written.

    Raises:
        InputError: The folder does not exist or cannot be written, or the disk is full.
    """
    path = Path(os.path.realpath(path))
    with writing(path):
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent
        )
    os.close(handle)
    temporary = Path(name)
    try:
        with writing(path):
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            # mkstemp makes files private (0600); a result is as readable as any other.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def lock(file: IO[Any], path: Path) -> None:
    """Keep other processes of molflt from writing an open file until it is closed.

    Where the system has no such locks (Windows, some network drives), nothing happens.

    Args:
        file: The open file.
        path: Its name, for errors.

    Raises:
        UsageError: Another process has it.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(
            f"Another process is writing {path}; wait for it, or name another output."
        ) from error
    except OSError:
        return
