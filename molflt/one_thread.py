"""Objects whose methods only one thread at a time may be in."""

from collections.abc import Callable
from functools import wraps
from threading import RLock
from typing import Any, Concatenate, ParamSpec, TypeVar

from molflt.errors import UsageError

P = ParamSpec("P")
Result = TypeVar("Result")


class OneThread:
    """A lock that refuses instead of waiting; copies, also by pickle, are new ones.

    Waiting would not help: what an object keeps between two calls would be another
    thread's.
    """

    def __init__(self) -> None:
        self._lock = RLock()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise UsageError(
                "The calculator is at work in another thread; give each thread a copy "
                "of its own (copy.deepcopy(calculator))."
            )

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type["OneThread"], tuple[()]]:
        return OneThread, ()


def in_one_thread(
    method: Callable[Concatenate[Any, P], Result],
) -> Callable[Concatenate[Any, P], Result]:
    """Refuse a method while another thread is in one of the same object.

    The object has a `OneThread` as ``one_thread``.

    Raises:
        UsageError: When the method is called so.
    """

    @wraps(method)
    def guarded(self: Any, *args: P.args, **kwargs: P.kwargs) -> Result:
        with self.one_thread:
            return method(self, *args, **kwargs)

    return guarded
