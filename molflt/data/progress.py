"""Progress bars for long work, on stderr and only where a person can see them."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import track as rich_track

Item = TypeVar("Item")


def track(
    items: Iterable[Item],
    description: str,
    *,
    total: int | None = None,
    show: bool | None = None,
) -> Iterator[Item]:
    """Yield the items and draw a bar.

    Args:
        items: What is worked through.
        description: Words in front of the bar.
        total: Number of items where `items` has no length.
        show: Draw the bar; None: only if stderr is a terminal.
    """
    if show is None:
        show = sys.stderr.isatty()
    if not show:
        yield from items
        return
    console = Console(stderr=True)
    yield from rich_track(items, description, total=total, console=console)


def count(
    items: Iterable[Item], description: str, *, show: bool | None = None
) -> Iterator[Item]:
    """Yield the items and show how many there were; their number is not known.

    Args:
        items: What is worked through.
        description: Words in front of the number.
        show: Draw; None: only if stderr is a terminal.
    """
    if show is None:
        show = sys.stderr.isatty()
    if not show:
        yield from items
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task(description, total=None)
        for item in items:
            yield item
            progress.advance(task)
