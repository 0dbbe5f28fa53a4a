"""An auxiliary task: how far each atom moves when the structure relaxes."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch_geometric.data import Batch

from molflt.errors import UsageError
from molflt.model import FLTEncoder
from molflt.nn.readout.equivariant_head import EquivariantHead
from molflt.training.labels import label_of
from molflt.training.losses import Loss, vector_loss
from molflt.training.metrics import Errors, atom_errors
from molflt.typing import Cells, GraphIndex, Periodicity, Positions

Decay = Literal["linear", "cosine"]


class DisplacementTerm(nn.Module):
    """Loss of the displacements d_i = pos_relaxed - pos [Å] of free atoms.

        (w(t) / n) sum_i loss(|d^_i - d_i|)
        w(t) = w (1 - t)  or  w (1 + cos(pi t)) / 2

    t from 0 to 1 is the part of the training that is over: the task shapes the
    features early and leaves the energy alone in the end. The head that predicts the
    displacements from vector features turns with the structure; it is no part of the
    model.

    Args:
        encoder: Encoder of the model to be trained; it needs vector features.
        loss: Of the lengths of errors, see `losses`; ``huber``: linear above 1 Å.
        weight: w.
        decay: "linear" or "cosine".

    Raises:
        UsageError: The encoder has no vector features or is frozen, or w is negative.

    Source: Noisy Nodes, arXiv 2106.07971, for the task.
    """

    def __init__(
        self, encoder: FLTEncoder, loss: Loss, weight: float, decay: Decay
    ) -> None:
        super().__init__()
        if weight < 0:
            raise UsageError(f"displacement_weight must not be negative, not {weight}.")
        if not encoder.vector_width:
            raise UsageError(
                "displacement_weight needs an encoder with vector features "
                "(form: masked, vector_width above 0)."
            )
        if not any(parameter.requires_grad for parameter in encoder.parameters()):
            raise UsageError(
                "displacement_weight teaches the encoder, which freeze_encoder keeps "
                "as it is; set it to 0."
            )
        self.loss = loss
        self.weight = weight
        self.decay: Decay = decay
        self.head = EquivariantHead(encoder.width, encoder.vector_width, 0, 1)

    def weight_at(self, progress: float) -> float:
        """Return w(t)."""
        if self.decay == "linear":
            return self.weight * (1 - progress)
        return self.weight * 0.5 * (1 + math.cos(math.pi * progress))

    def forward(
        self, x: Tensor, vec: Tensor, batch: Batch, progress: float
    ) -> tuple[Tensor, Errors]:
        """Return the loss and the errors [Å].

        Args:
            x: Scalar features (n, c).
            vec: Vector features (n, 3, w).
            batch: Structures with `pos_relaxed`.
            progress: t.

        Raises:
            InputError: There is no `pos_relaxed`.
        """
        predicted = self.head(x, vec)[1].squeeze(2)
        error = predicted - displacements(batch).to(predicted.dtype)
        free = ~batch.fixed
        loss = self.weight_at(progress) * vector_loss(self.loss, error, free)
        return loss, atom_errors(error.detach(), batch, free)


def displacements(batch: Batch) -> Float[Tensor, "n 3"]:
    """Return the way of each atom to its relaxed position (n, 3) [Å], float64.

    Raises:
        InputError: There is no `pos_relaxed`.
    """
    moved = label_of(batch, "pos_relaxed") - batch.pos.detach()
    return shortest(moved, batch.batch, batch.cell, batch.pbc)


def shortest(
    vectors: Positions, batch: GraphIndex, cell: Cells, pbc: Periodicity
) -> Float[Tensor, "n 3"]:
    """Return the shortest image of each vector: less lattice vectors.

    Rounded fractional coordinates are within a cell of the shortest one, for cells
    that are not extremely skew; it is then found among the 27 images around.

    Args:
        vectors: Vectors (n, 3) [Å].
        batch: Graph of each (n,).
        cell: Lattice vectors as rows (g, 3, 3) [Å].
        pbc: Periodic directions (g, 3).
    """
    lattice = cell * pbc.unsqueeze(2)  # open directions: zero rows
    fraction = torch.einsum("nx,nxk->nk", vectors, torch.linalg.pinv(lattice)[batch])
    vectors = vectors - torch.einsum("nk,nkx->nx", fraction.round(), lattice[batch])
    steps = torch.cartesian_prod(*[torch.arange(-1, 2, device=cell.device)] * 3)
    images = (steps.to(cell) @ lattice)[batch] + vectors.unsqueeze(1)  # (n, 27, 3)
    nearest = images.square().sum(dim=2).argmin(dim=1)
    return images[torch.arange(len(images), device=images.device), nearest]
