"""Terms of the loss for forces and stress."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch_geometric.data import Batch

from molflt.data.crystals import stress_is_known
from molflt.errors import UsageError
from molflt.training.labels import label_of
from molflt.training.losses import Loss, vector_loss
from molflt.training.metrics import Errors, atom_errors
from molflt.typing import Cells, Positions


class DerivativeTerms:
    """Loss of the derivatives of a potential energy, in units of its deviation.

        (w_F / n) sum_i loss(|F^_i - F_i| / sigma)
        + (w_S / g) sum_s loss(V_s |stress^_s - stress_s| / sigma)

    over the n atoms i of a batch and its g structures s that have a stress; sigma is
    the standard deviation of the energy in the training set, |.| of a stress the
    Frobenius norm. Energy over sigma is what the network learns, so these are its
    derivatives by positions in Å and by the strain.

    Held atoms (`fixed`) do not count: their labels may be the constraint's zeros. Nor
    do structures without a stress (`stress_is_known`); in a batch without any other the
    term is 0.

    Args:
        loss: Of the lengths of errors, see `losses`.
        force_weight: w_F; 0: forces are not trained on.
        stress_weight: w_S; 0: stress is not trained on.

    Raises:
        UsageError: A weight is negative.

    Source: energy and force loss of PaiNN (arXiv 2102.03150), with the length of the
    force error, which does not depend on orientation, for its components.
    """

    def __init__(self, loss: Loss, force_weight: float, stress_weight: float) -> None:
        for name, value in (
            ("force_weight", force_weight),
            ("stress_weight", stress_weight),
        ):
            if value < 0:
                raise UsageError(f"{name} must not be negative, not {value:g}.")
        self.loss = loss
        self.force_weight = force_weight
        self.stress_weight = stress_weight

    @property
    def active(self) -> bool:
        """Whether anything is trained on."""
        return self.force_weight > 0 or self.stress_weight > 0

    def __call__(
        self, forces: Positions, stress: Cells | None, batch: Batch, std: Tensor
    ) -> tuple[Tensor, dict[str, Errors]]:
        """Return the loss, and errors of ``force`` and ``stress``.

        Args:
            forces: Predicted forces (n, 3).
            stress: Predicted stress (g, 3, 3), or None; whatever where there is none.
            batch: Structures with labels.
            std: Standard deviation of the energy.

        Raises:
            InputError: A label is missing.
        """
        loss = std.new_zeros(())
        errors = {}
        if self.force_weight > 0:
            error = forces - label_of(batch, "forces")
            free = ~batch.fixed
            loss = loss + self.force_weight * vector_loss(self.loss, error / std, free)
            errors["force"] = atom_errors(error.detach(), batch, free)
        if stress is not None:
            known = stress_is_known(batch)
            # No NaN may come near the prediction: its gradient would be one, too.
            label = label_of(batch, "stress").where(known[:, None, None], 0.0)
            error = (stress.where(known[:, None, None], 0.0) - label).flatten(1)
            volume = torch.linalg.det(batch.cell.detach()).abs().unsqueeze(1)
            scaled: Float[Tensor, "g 9"] = error * volume / std
            loss = loss + self.stress_weight * vector_loss(self.loss, scaled, known)
            mean = error.detach().abs().mean(dim=1)
            errors["stress"] = Errors(mean, 9.0 * known.to(mean.dtype))
        return loss, errors
