"""Errors in physical units, exact over batches and processes."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch_geometric.data import Batch
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from molflt.nn.segment import segment_sum
from molflt.targets import ENERGY_THRESHOLD, TargetSpec
from molflt.unit_names import unit_in_name


class Errors(NamedTuple):
    """Errors of each structure, in physical units.

    Args:
        values: Error of a scalar, or mean absolute error of several components (g,).
        counts: Components of each structure (g,), 0 without a label; None: one.
    """

    values: Float[Tensor, " g"]
    counts: Float[Tensor, " g"] | None = None

    def mean(self) -> Tensor:
        """Return the mean absolute error over the batch's components; NaN: none."""
        if self.counts is None:
            return self.values.abs().mean()
        return (self.values.abs() * self.counts).sum() / self.counts.sum()


def label_errors(
    predictions: Float[Tensor, " g"], labels: Float[Tensor, " g"]
) -> Errors:
    """Return the errors of a scalar; labels are NaN where there is none."""
    known = ~labels.isnan()
    return Errors((predictions - labels).where(known, 0.0), known.to(labels.dtype))


def mean_errors(errors: Sequence[Errors], units: Sequence[Tensor]) -> Errors:
    """Return the mean over targets of |e| / unit, of what each structure has labels of.

    Args:
        errors: Errors of each target, `label_errors`.
        units: Unit of each.
    """
    counts = [e.counts for e in errors if e.counts is not None]
    count = torch.stack(counts).sum(0)
    parts = [e.values.abs() / unit for e, unit in zip(errors, units, strict=True)]
    return Errors(torch.stack(parts).sum(0) / count.clamp(min=1), count)


def atom_errors(
    error: Float[Tensor, "n 3"], batch: Batch, kept: Bool[Tensor, " n"]
) -> Errors:
    """Return the mean absolute component over the kept atoms of each structure."""
    rows = torch.stack([error.abs().sum(dim=1) * kept, 3.0 * kept], dim=1)
    total, count = segment_sum(rows, batch.batch, batch.num_graphs).unbind(1)
    return Errors(total / count.clamp(min=1), count)


class AbsoluteErrors(Metric):
    """Mean absolute error and share of errors below a threshold.

        MAE = (1 / n) sum_i |e_i|,   EwT = (100 / n) (number of |e_i| < threshold)

    over the n *different* ids seen that have labels. Distributed samplers repeat
    records to fill the last batch; the pairs (id, error) of all processes are gathered
    and each id counts once: values do not depend on the number of processes or on
    the batch size. Sums are in float64.

    Args:
        threshold: In the unit of the errors; strict.
    """

    full_state_update = False
    ids: list[Tensor]
    errors: list[Tensor]
    counts: list[Tensor]

    def __init__(self, threshold: float = ENERGY_THRESHOLD) -> None:
        super().__init__()
        self.threshold = threshold
        self.add_state("ids", default=[], dist_reduce_fx="cat")
        self.add_state("errors", default=[], dist_reduce_fx="cat")
        self.add_state("counts", default=[], dist_reduce_fx="cat")

    def update(
        self, errors: Tensor, ids: Sequence[str], counts: Tensor | None = None
    ) -> None:
        """Add a batch.

        Args:
            errors: Prediction minus label, shape (g,), in physical units; or mean
                absolute errors of several components.
            ids: The g ids, unique within the split.
            counts: Number of components of each (g,), 0: no label; None: one.
        """
        hashes = torch.tensor([_hash(sid) for sid in ids], dtype=torch.int64)
        self.ids.append(hashes.to(errors.device))
        size = errors.detach().to(torch.float64).abs()
        self.errors.append(size)
        self.counts.append(torch.ones_like(size) if counts is None else counts.to(size))

    def compute(self) -> dict[str, Tensor]:
        """Return ``mae``, ``ewt_percent`` and ``count`` (float64 scalars).

        Without labels errors are NaN; the count is of components.
        """
        if not len(self.ids):
            nan = torch.tensor(torch.nan, dtype=torch.float64)
            return {"mae": nan, "ewt_percent": nan, "count": torch.zeros_like(nan)}
        ids, errors = dim_zero_cat(self.ids), dim_zero_cat(self.errors)
        counts = dim_zero_cat(self.counts)
        ids, order = torch.sort(ids, stable=True)
        first = torch.ones_like(ids, dtype=torch.bool)
        first[1:] = ids[1:] != ids[:-1]
        errors, counts = errors[order][first], counts[order][first]
        within = (errors < self.threshold)[counts > 0]
        return {
            "count": counts.sum(),
            "mae": (errors * counts).sum() / counts.sum(),
            "ewt_percent": 100.0 * within.double().mean(),
        }


class Evaluation:
    """Errors of several splits, gathered batch by batch.

    A sampler gives one process no record twice: an id that comes again is that of
    another structure, which counts, too.
    """

    def __init__(self) -> None:
        self._metrics: dict[tuple[str, str], AbsoluteErrors] = {}
        self._seen: Counter[tuple[str, str]] = Counter()

    def clear(self) -> None:
        """Forget everything."""
        self._metrics.clear()
        self._seen.clear()

    def add(self, split: str, errors: Mapping[str, Errors], ids: Sequence[str]) -> None:
        """Add a batch.

        Args:
            split: Name of its split.
            errors: Errors by ``{target}/{metric}``.
            ids: Ids of its structures, or their places in the split: the ones of
                several processes are the same structure.
        """
        own = []
        for sid in map(str, ids):
            times = self._seen[split, sid]
            self._seen[split, sid] += 1
            own.append(f"{sid}\0{times}" if times else sid)
        for name, (values, counts) in errors.items():
            if (split, name) not in self._metrics:
                self._metrics[split, name] = AbsoluteErrors().to(values.device)
            self._metrics[split, name].update(values, own, counts)

    def values(self) -> dict[str, Tensor]:
        """Return values by ``{split}/{target}/{metric}``, over all processes.

        Without those of splits that have no labels of a target: there is no error.
        """
        values = {}
        for (split, name), metric in self._metrics.items():
            found = metric.compute()
            if not found["count"]:
                continue
            values[f"{split}/{name}"] = found["mae"]
            if share := share_name(name):
                values[f"{split}/{share}"] = found["ewt_percent"]
        return values


def share_name(error: str) -> str | None:
    """Return the name of the EwT beside ``{target}/mae_eV``; None: it has none."""
    target, _, metric = error.partition("/")
    return f"{target}/ewt_percent" if metric == "mae_eV" else None


def error_name(spec: TargetSpec, kind: str = "", per: str = "") -> str:
    """Return ``{target}/mae_{unit}``; of forces and stress, with what they are per.

    Args:
        spec: The target.
        kind: "force" or "stress", its derivatives; "": itself.
        per: Unit of what it is derived by.
    """
    unit = f"{spec.unit}/{per}" if per else spec.unit
    metric = f"{kind}_mae" if kind else "mae"
    return f"{spec.name}/{metric}_{unit_in_name(unit)}"


def _hash(sid: str) -> int:
    """Return 64 bits of `sid`; the same in every process, unlike Python's `hash`."""
    digest = hashlib.blake2b(str(sid).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
