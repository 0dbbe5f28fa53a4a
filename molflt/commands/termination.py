"""SIGTERM, which Slurm, ``timeout`` and ``kill`` send, as another Ctrl-C."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """The process was asked by SIGTERM to end."""


def terminable() -> AbstractContextManager[None]:
    """Raise `Terminated` in the block when SIGTERM comes."""
    return _handled_by(_terminate)


def undisturbed() -> AbstractContextManager[None]:
    """Ignore SIGTERM in the block, where a process that ends puts things in order."""
    return _handled_by(signal.SIG_IGN)


@contextmanager
def _handled_by(
    handler: Callable[[int, FrameType | None], None] | signal.Handlers,
) -> Iterator[None]:
    """Handle SIGTERM in the block; in other threads than the main one Python cannot."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        # None: it was not set by Python, which cannot set it again.
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated
