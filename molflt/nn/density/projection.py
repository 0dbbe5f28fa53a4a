"""U of density features: random, rounded, and in states in half precision."""

import math
from typing import Any

import torch
from torch import Tensor, nn


def projection_of_chance(shape: tuple[int, int, int]) -> Tensor:
    """Return a random U, the same everywhere, on the device that tensors are made on.

    Without numbers where that has none, as torch's "meta".
    """
    where = torch.get_default_device()
    if where.type == "meta":
        return torch.empty(shape)
    random = torch.Generator().manual_seed(0)
    chance = torch.randn(shape, generator=random, device="cpu")
    return rounded(chance / math.sqrt(shape[1])).to(where)


def rounded(projection: Tensor) -> Tensor:
    """Return U to half precision: any matrix near the principal components will do."""
    half = projection.half().to(projection)
    # Not where numbers are too large for it or too small; then there is an infinity.
    near = (half - projection).abs().max() <= 1e-3 * projection.abs().max()
    return half if near else projection


def in_half(
    module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any
) -> None:
    """Put U into a state in half precision where that loses nothing.

    It is most of a checkpoint; `from_half` brings it back.
    """
    name = f"{prefix}projection"
    if state[name].is_meta:
        return
    half = state[name].half()
    if torch.equal(half.to(state[name]), state[name]):
        state[name] = half


def from_half(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Give U in a state the type of its mean, for a module that takes it as it is."""
    name, like = f"{prefix}projection", state.get(f"{prefix}shift")
    if name in state and like is not None:
        state[name] = state[name].to(like.dtype)
