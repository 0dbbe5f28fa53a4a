"""What the layers share is computed once within one pass through them."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import torch

Value = TypeVar("Value")


class Once:
    """Values by key, computed when they are first asked for.

    They depend on parameters, and belong to the graph of one backward pass. So they
    are kept within one pass of an encoder; a layer that is called by itself, with
    places that may serve again, computes them anew. What was computed without gradients
    is not for those who need them (`torch.utils.checkpoint`).

    Args:
        keeps: Whether values are kept.
    """

    def __init__(self, *, keeps: bool = False) -> None:
        self.keeps = keeps
        self._known: dict[Hashable, Any] = {}

    def of(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of `key`.

        Args:
            key: What determines the value: modules by identity, numbers.
            make: Computes it.
        """
        if not self.keeps:
            return make()
        place = key, torch.is_grad_enabled()
        if place not in self._known:
            self._known[place] = make()
        value: Value = self._known[place]
        return value
