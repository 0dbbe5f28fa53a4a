"""Learned relative positional encodings f(r) as arrays."""

import numpy as np
import torch
from torch import Tensor

from molflt.model import FLTEncoder
from molflt.nn.additive import AdditiveAttention
from molflt.nn.block import FLTLayer
from molflt.nn.fourier_rpe import FourierRPE

_DIRECTIONS = 64


@torch.no_grad()
def head_kernels(encoder: FLTEncoder, r: np.ndarray) -> dict[str, np.ndarray]:
    """Evaluate f_h(r) of every head of every layer.

    Args:
        encoder: A trained encoder.
        r: Distances (p,) [Å].

    Returns:
        For each group of heads, such as ``"layer 1, near"``, the values (heads, p).
        The spectra of ``spectrum: free`` have a direction; theirs are means over
        directions.
    """
    parameter = encoder.norm.weight
    distances = torch.as_tensor(r, dtype=parameter.dtype, device=parameter.device)
    groups: dict[str, Tensor] = {}
    for index, layer in enumerate(encoder.layers, start=1):
        assert isinstance(layer, FLTLayer)
        heads = layer.attention.heads
        if isinstance(heads, AdditiveAttention):
            groups[f"layer {index}, additive"] = _mean_kernel(heads.rpe, distances)
            continue
        if heads.near is not None:
            groups[f"layer {index}, near"] = heads.near.kernel.radial(distances)
        if heads.far is not None:
            values = heads.far.mixture.radial(distances)
            groups[f"layer {index}, far"] = values[: heads.far.num_heads]
    return {name: values.double().cpu().numpy() for name, values in groups.items()}


def _mean_kernel(rpe: FourierRPE, r: Tensor) -> Tensor:
    """Mean of f_h(r u) over directions u spread evenly on the sphere, (heads, p)."""
    index = torch.arange(_DIRECTIONS, dtype=r.dtype, device=r.device)
    height = 1 - (2 * index + 1) / _DIRECTIONS
    angle = np.pi * (1 + 5**0.5) * index  # golden angle: a Fibonacci sphere
    ring = (1 - height.square()).sqrt()
    unit = torch.stack([ring * angle.cos(), ring * angle.sin(), height], dim=1)
    delta = r[:, None, None] * unit  # (p, directions, 3)
    values = rpe.kernel(delta.reshape(-1, 3))
    return values.view(len(values), len(r), _DIRECTIONS).mean(dim=2)
