"""What training minimises, and the errors that are reported."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch

from molflt.data.crystals import stress_is_known
from molflt.errors import UsageError
from molflt.gradients import deformable, has_forces, potential_target
from molflt.model import FLTEncoder, FLTModel
from molflt.nn.gradients import Deformation
from molflt.targets import TargetSpec
from molflt.training.derivatives import DerivativeTerms
from molflt.training.displacement import Decay, DisplacementTerm
from molflt.training.labels import label_of
from molflt.training.losses import LOSSES, Loss, multi_target_loss
from molflt.training.metrics import Errors, error_name, label_errors, mean_errors
from molflt.training.targets import check_weights

MEAN_ERROR = "all/mae_std"
"""Mean over targets of MAE / std, what a model of several can be monitored by.

The standard deviations are those of the training set's labels less the references.
Where labels are missing, it is the mean over labels: targets with few count little.
"""


class Outcome(NamedTuple):
    """Of one batch: the loss, and errors by the name of their metric."""

    loss: Tensor
    errors: dict[str, Errors]


class Objective(nn.Module):
    """Sum of the losses of targets, derivatives and displacements.

    See `multi_target_loss`, `DerivativeTerms` and `DisplacementTerm`. Forces and stress
    are those of the only potential energy among the targets.

    Args:
        encoder: Encoder of the model to be trained.
        loss: ``l1``, ``mse``, ``huber``, ``log`` or one's own, see `losses`.
        force_weight: Weight of the forces; 0: none.
        stress_weight: Weight of the stress; 0: none.
        displacement_weight: Weight of the displacements at the start; 0: none.
        displacement_decay: How it falls to 0.
        target_weights: Weights of the targets by name, 1 where there is none.

    Raises:
        UsageError: There is no such loss, a weight is negative or not finite, or the
            encoder has no vectors to predict displacements from, or is frozen and
            cannot learn of them.
    """

    def __init__(
        self,
        encoder: FLTEncoder,
        loss: Loss = "l1",
        force_weight: float = 0.0,
        stress_weight: float = 0.0,
        displacement_weight: float = 0.0,
        displacement_decay: Decay = "linear",
        target_weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        if isinstance(loss, str) and loss not in LOSSES:
            known = ", ".join(LOSSES)
            raise UsageError(f"loss must be {known} or a function, not {loss!r}.")
        self.loss = loss
        self.target_weights = dict(target_weights or {})
        check_weights(self.target_weights, None)
        self.derivatives = DerivativeTerms(loss, force_weight, stress_weight)
        self.displacement = (
            DisplacementTerm(encoder, loss, displacement_weight, displacement_decay)
            if displacement_weight
            else None
        )

    def check(self, targets: Sequence[TargetSpec]) -> None:
        """Refuse targets that this cannot be the objective of.

        Raises:
            UsageError: A weight is that of no target or all are 0, or there are forces
                or stress to be learned of none or several potential energies.
        """
        check_weights(self.target_weights, [spec.name for spec in targets])
        if self.derivatives.active and sum(map(has_forces, targets)) != 1:
            known = ", ".join(f"{spec.name} ({spec.kind})" for spec in targets)
            raise UsageError(
                "model.force_weight and model.stress_weight are for one potential "
                f"energy, and the targets are {known}; set them to 0, or choose by "
                "model.targets."
            )

    @property
    def labels(self) -> dict[str, str]:
        """Options, and the labels besides the targets that they need."""
        needed = {
            "force_weight": self.derivatives.force_weight and "forces",
            "stress_weight": self.derivatives.stress_weight and "stress",
            "displacement_weight": self.displacement and "pos_relaxed",
        }
        return {option: str(label) for option, label in needed.items() if label}

    def first_error(self, targets: Sequence[TargetSpec]) -> str:
        """Return the name of the error to choose a model by: of forces, if learned."""
        if len(targets) > 1:
            return MEAN_ERROR
        if self.derivatives.force_weight:
            return error_name(targets[0], "force", "A")
        return error_name(targets[0])

    def forward(
        self, model: FLTModel, batch: Batch, progress: float | None = None
    ) -> Outcome:
        """Return loss and errors of a batch.

        Args:
            model: The model.
            batch: Structures with labels.
            progress: Part of the training that is over, 0 to 1; None: evaluation,
                without displacements and without gradients.

        Raises:
            InputError: A label is missing.
        """
        if not self.derivatives.active:
            return self._outcome(model, batch, None, progress)
        # Lightning validates in inference mode, where there are no forces.
        with torch.inference_mode(False), torch.enable_grad():
            if not self.derivatives.stress_weight:
                return self._outcome(model, *deformable(batch), progress)
            label_of(batch, "stress")  # or the sentence that says who lacks it
            strained = stress_is_known(batch)
            moved = deformable(batch, stress=True, strained=strained)
            return self._outcome(model, *moved, progress)

    def _outcome(
        self,
        model: FLTModel,
        batch: Batch,
        deformation: Deformation | None,
        progress: float | None,
    ) -> Outcome:
        features = model.features(batch)
        predictions = model.read(features)
        labels = {name: label_of(batch, name) for name in predictions}
        normalised = {
            name: model.normalise(name, label, batch) for name, label in labels.items()
        }
        weights = self.target_weights
        loss = multi_target_loss(self.loss, predictions, normalised, weights)
        errors = {}
        for name, value in predictions.items():
            found = model.physical(name, value.detach(), batch)
            errors[error_name(model.target_spec(name))] = label_errors(
                found, labels[name]
            )
        if len(errors) > 1:
            units = [model.readout(name).std for name in predictions]
            errors[MEAN_ERROR] = mean_errors(list(errors.values()), units)
        if deformation is not None:
            spec = potential_target(model.targets)
            energy = model.physical(spec.name, predictions[spec.name], batch)
            slopes = deformation.derivatives(energy, create_graph=progress is not None)
            std = model.readout(spec.name).std
            term, slope_errors = self.derivatives(*slopes, batch, std)
            loss = loss + term
            for kind, per in (("force", "A"), ("stress", "A3")):
                if kind in slope_errors:
                    errors[error_name(spec, kind, per)] = slope_errors[kind]
        if self.displacement is not None and progress is not None:
            term, moves = self.displacement(*features[:3], progress)
            loss = loss + term
            errors["displacement/mae_A"] = moves
        return Outcome(loss, errors)
