"""Other starts of training structures, with the labels of the given ones."""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch_geometric.data import Batch

from molflt.errors import UsageError
from molflt.targets import TargetSpec
from molflt.training.displacement import displacements


class PositionAugmentation:
    """Moves the free atoms of training structures; labels stay as they are.

        x_i + a (x_i^relaxed - x_i) + s (1 - t) e_i

    t from 0 to 1 is the part of the planned training that is over, e_i is standard
    normal, and a of a structure is uniform in [0, 1] with probability p (1 - t), else
    0. What starts beside a structure, or further on its way, relaxes to the same
    energy; near the end of that way energies are easier to learn. In the end structures
    are as given, as those to be predicted will be.

    Args:
        noise: s [Å]; 0: none.
        interpolation: p; 0: never.

    Raises:
        UsageError: `noise` is negative, or `interpolation` is no probability.

    Source: noise and interpolation are those of Noisy Nodes (arXiv 2106.07971).
    """

    def __init__(self, noise: float = 0.0, interpolation: float = 0.0) -> None:
        if noise < 0:
            raise UsageError(f"position_noise must not be negative, not {noise:g}.")
        if not 0 <= interpolation <= 1:
            raise UsageError(
                f"position_interpolation must lie in [0, 1], not {interpolation:g}."
            )
        self.noise, self.interpolation = noise, interpolation

    @property
    def labels(self) -> dict[str, str]:
        """Options, and the labels besides the targets that they need."""
        return {"position_interpolation": "pos_relaxed"} if self.interpolation else {}

    def refuse_derivatives(self) -> None:
        """Refuse to move atoms where forces or stress are learned.

        Raises:
            UsageError: It would.
        """
        if self.noise or self.interpolation:
            raise UsageError(
                "position_noise and position_interpolation move atoms away from where "
                "their forces were computed; set them or force_weight and "
                "stress_weight to 0."
            )

    def check(self, targets: Sequence[TargetSpec]) -> None:
        """Refuse targets that change on the way to the relaxed positions.

        Raises:
            UsageError: A target is of another kind than ``relaxed``.
        """
        for spec in targets if self.interpolation else ():
            if spec.kind != "relaxed":
                raise UsageError(
                    "model.position_interpolation is for energies after relaxation, "
                    f"which are the same all the way; {spec.name!r} is of the kind "
                    f"{spec.kind}: set it to 0, or say what the energies of your data "
                    "are (data.init_args.kind or molflt data convert --kind relaxed)."
                )

    def __call__(self, batch: Batch, seed: Sequence[int], progress: float) -> Batch:
        """Return the moved batch.

        Args:
            batch: Structures; they are not changed.
            seed: Numbers that determine the moves: the same ones, the same moves.
            progress: t.
        """
        if not (self.noise or self.interpolation):
            return batch
        rng = np.random.default_rng(list(seed))
        free = ~batch.fixed.unsqueeze(1)

        def like_positions(values: np.ndarray) -> torch.Tensor:
            moved = torch.from_numpy(values)
            return moved.to(batch.pos.device, batch.pos.dtype, non_blocking=True)

        pos = batch.pos
        if self.interpolation:
            chosen = rng.random(batch.num_graphs) < self.interpolation * (1 - progress)
            part = like_positions(chosen * rng.random(batch.num_graphs))
            way = displacements(batch).to(pos.dtype) * free
            pos = pos + part[batch.batch].unsqueeze(1) * way
        if self.noise:
            noise = rng.normal(0.0, self.noise * (1 - progress), pos.shape)
            pos = pos + like_positions(noise) * free
        moved = copy.copy(batch)
        moved.pos = pos
        return moved
