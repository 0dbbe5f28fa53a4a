"""Reading ahead changes neither items nor errors, is bounded, and ends."""

import itertools
import threading
import time

import pytest

from molflt.data.ahead import read_ahead


def readers():
    return [t for t in threading.enumerate() if t.name == "molflt reader"]


def test_all_items_come_in_order():
    assert list(read_ahead(iter(range(1000)), 3)) == list(range(1000))
    assert list(read_ahead(iter([]), 1)) == []
    assert not readers()


def test_an_error_comes_in_its_place():
    def items():
        yield 1
        yield 2
        raise MemoryError("a shape that a few bytes claim")

    seen = []
    with pytest.raises(MemoryError, match="a few bytes"):
        seen.extend(read_ahead(items(), 5))
    ahead = read_ahead(items(), 5)
    assert [next(ahead), next(ahead)] == [1, 2]
    ahead.close()
    assert not readers()


def test_no_more_is_read_than_allowed_and_nothing_after_the_end():
    read = []
    endless = (read.append(index) or index for index in itertools.count())
    ahead = read_ahead(endless, 4)
    assert [next(ahead) for _ in range(3)] == [0, 1, 2]
    time.sleep(0.3)
    assert len(read) <= 3 + 4 + 1  # taken, waiting, and the one that has no place
    ahead.close()
    assert not readers()
    count = len(read)
    time.sleep(0.2)
    assert len(read) == count


def test_reading_goes_on_while_the_consumer_waits():
    read = []
    ahead = read_ahead((read.append(i) or i for i in range(3)), 10)
    assert next(ahead) == 0
    deadline = time.monotonic() + 30
    while len(read) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert read == [0, 1, 2]
    assert list(ahead) == [1, 2]
