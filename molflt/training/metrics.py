"""Errors in physical units, exact over batches and processes."""

import hashlib
import re
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

ENERGY_THRESHOLD = 0.02
"""Threshold of "energy within threshold" [eV]; the Open Catalyst leaderboard's."""


class AbsoluteErrors(Metric):
    r"""Mean absolute error and share of errors below a threshold.

    .. math::
        \mathrm{MAE} = \frac{1}{n} \sum_i |e_i|, \qquad
        \mathrm{EwT} = \frac{100}{n} \sum_i [\,|e_i| < \epsilon\,]

    over the :math:`n` *different* ids seen. Distributed samplers repeat records to
    fill the last batch; the pairs (id, error) of all processes are gathered and each
    id counts once, so that the values do not depend on the number of processes or on
    the batch size. Sums are in float64.

    Args:
        threshold: :math:`\epsilon`, in the unit of the errors; strict.
    """

    full_state_update = False
    ids: list[Tensor]
    errors: list[Tensor]

    def __init__(self, threshold: float = ENERGY_THRESHOLD) -> None:
        super().__init__()
        self.threshold = threshold
        self.add_state("ids", default=[], dist_reduce_fx="cat")
        self.add_state("errors", default=[], dist_reduce_fx="cat")

    def update(self, errors: Tensor, ids: Sequence[str]) -> None:
        """Add a batch.

        Args:
            errors: Prediction minus label, shape (g,), in physical units.
            ids: The g ids, unique within the split.
        """
        hashes = torch.tensor([_hash(sid) for sid in ids], dtype=torch.int64)
        self.ids.append(hashes.to(errors.device))
        self.errors.append(errors.detach().to(torch.float64).abs())

    def compute(self) -> dict[str, Tensor]:
        """Return ``mae`` and ``ewt_percent`` (float64 scalars; NaN without data)."""
        if not len(self.ids):
            nan = torch.tensor(torch.nan, dtype=torch.float64)
            return {"mae": nan, "ewt_percent": nan}
        ids, errors = dim_zero_cat(self.ids), dim_zero_cat(self.errors)
        ids, order = torch.sort(ids, stable=True)
        first = torch.ones_like(ids, dtype=torch.bool)
        first[1:] = ids[1:] != ids[:-1]
        errors = errors[order][first]
        return {
            "mae": errors.mean(),
            "ewt_percent": 100.0 * (errors < self.threshold).double().mean(),
        }


def unit_in_name(unit: str) -> str:
    """Return `unit` as it appears in metric names: ``cal/mol/K`` as cal_per_mol_K."""
    numerator, *denominator = unit.split("/")
    words = [numerator, *(["per", *denominator] if denominator else [])]
    return re.sub(r"[^0-9A-Za-z]+", "_", "_".join(words)).strip("_")


def _hash(sid: str) -> int:
    """Return 64 bits of `sid`; the same in every process, unlike Python's `hash`."""
    digest = hashlib.blake2b(str(sid).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
