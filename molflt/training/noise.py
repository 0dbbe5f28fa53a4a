"""Noise on the positions of training structures."""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch_geometric.data import Batch

from molflt.errors import UsageError


class PositionNoise:
    """Moves free atoms at random; labels stay those of the structure without noise.

    Args:
        scale: Standard deviation of each coordinate [Å]; 0: none.

    Raises:
        UsageError: `scale` is negative.
    """

    def __init__(self, scale: float) -> None:
        if scale < 0:
            raise UsageError(f"position_noise must not be negative, not {scale:g}.")
        self.scale = scale

    def __call__(self, batch: Batch, seed: Sequence[int]) -> Batch:
        """Return the moved batch.

        Args:
            batch: Structures; they are not changed.
            seed: Numbers that determine the noise: the same ones, the same noise.
        """
        if self.scale == 0:
            return batch
        noise = np.random.default_rng(list(seed)).normal(
            0.0, self.scale, batch.pos.shape
        )
        pos = batch.pos
        shift = torch.from_numpy(noise).to(pos.device, pos.dtype, non_blocking=True)
        moved = copy.copy(batch)
        moved.pos = batch.pos + shift * ~batch.fixed.unsqueeze(1)
        return moved
