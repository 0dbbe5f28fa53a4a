"""Reading in a thread, while the reader's consumer computes."""

import threading
from collections.abc import Iterator
from queue import Empty, Full, Queue
from typing import Generic, TypeVar

Item = TypeVar("Item")

_PATIENCE = 0.1  # seconds between two looks at whether anybody still waits


class _Raised:
    """What ended the reading."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def read_ahead(items: Iterator[Item], count: int) -> Iterator[Item]:
    """Yield the items, up to `count` of which are read before they are asked for.

    Tensor operations release Python's interpreter lock, so that parsers, which hold it,
    fill the gaps. Iterator and consumer must not share state.

    Args:
        items: What is read; an exception it raises is raised here, in its place.
        count: Largest number of items that wait.
    """
    reader = _Reader(items, count)
    reader.start()
    try:
        while not isinstance(item := reader.get(), _Raised):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        reader.stop()


class _Reader(threading.Thread, Generic[Item]):
    """Puts items into a queue until there are no more, or nobody wants them."""

    def __init__(self, items: Iterator[Item], count: int) -> None:
        super().__init__(name="molflt reader", daemon=True)
        self._items = items
        self._queue: Queue[Item | _Raised] = Queue(count)
        self._unwanted = threading.Event()

    def run(self) -> None:
        end = _Raised(None)
        try:
            for item in self._items:
                if not self._put(item):
                    return
        except BaseException as error:  # of the reader; raised where it is read
            end = _Raised(error)
        self._put(end)

    def _put(self, item: Item | _Raised) -> bool:
        while not self._unwanted.is_set():
            try:
                self._queue.put(item, timeout=_PATIENCE)
                return True
            except Full:
                continue
        return False

    def get(self) -> Item | _Raised:
        while True:  # a wait without end could not be interrupted on every system
            try:
                return self._queue.get(timeout=60.0)
            except Empty:
                continue

    def stop(self) -> None:
        """End the thread; a file that takes long to be parsed is not waited for."""
        self._unwanted.set()
        self.join(timeout=1.0)
