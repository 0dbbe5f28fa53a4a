"""Finished runs as files, and claims on runs that somebody works on."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adsorption import augmentation_of
from plan import Run, options_of, same_options
from record import RESULTS
from speed import steps_of

FOLDER = RESULTS / "accuracy"


def path_of(run: Run, suffix: str = ".json") -> Path:
    """Return the result file of a run, there or not; or its lock file."""
    return FOLDER / f"{run.name}{suffix}"


def read(run: Run) -> dict[str, Any] | None:
    """Return a finished run; None: none of these options, data and so many steps."""
    path = path_of(run)
    if not path.exists():
        return None
    result: dict[str, Any] = json.loads(path.read_text())
    if not same_options(options_of(run.model), result["options"]):
        return None
    if run.task == "emt" and not _as_now(run, result):
        return None
    steps = steps_of(run)
    return result if steps is None or result["steps"] == steps else None


def _as_now(run: Run, result: dict[str, Any]) -> bool:
    """Whether positions moved as they would now."""
    return augmentation_of(run.model).items() <= result["data"].items()


@contextmanager
def claim(run: Run) -> Iterator[bool]:
    """Yield whether this process may work on a run; others may not, meanwhile.

    The kernel holds the lock and lets go of it when the process ends, however it ends:
    a lock file that is left over does not lock anything.
    """
    path = path_of(run, ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        try:
            # Another process may have removed the file after it was opened here.
            same = os.path.exists(path) and os.path.samestat(
                os.fstat(file.fileno()), os.stat(path)
            )
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield same
        finally:
            if os.path.exists(path):
                os.unlink(path)


def claimed_by(run: Run) -> str | None:
    """Return the process that works on a run; None: nobody does."""
    try:
        with open(path_of(run, ".lock")) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read().strip()
    except FileNotFoundError:
        pass
    return None
