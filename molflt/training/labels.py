"""Labels that training needs, or one sentence that says which is missing."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from molflt.data.check.force_hints import work_hint
from molflt.data.check.unit_hints import SAMPLE, energy_hint, force_hint, length_hint
from molflt.data.crystals import stress_is_known
from molflt.data.dataset import GraphDataset
from molflt.data.molecule import without_missing
from molflt.data.statistics import Statistics
from molflt.errors import InputError
from molflt.targets import TargetSpec

log = logging.getLogger(__name__)

_HINTS = {
    "forces": " (are they under another name, data.init_args.forces_key or molflt data "
    "convert --forces-key says which; to learn from energies alone, set it to 0)",
    "stress": " (files of ASE: data.init_args.stress reads it, by other names "
    "stress_key or virial_key; or molflt data convert --stress)",
    "pos_relaxed": " (files of ASE: an array of this name is read of energies "
    "after relaxation: data.init_args.kind or molflt data convert --kind relaxed)",
}
"""Labels that are there and not read unless asked for."""


class LabelledDataset(GraphDataset):
    """A set whose graphs are refused where they lack labels that training needs.

    Args:
        dataset: The set.
        needed: Options, and the names of the labels that they need.
    """

    def __init__(self, dataset: GraphDataset, needed: Mapping[str, str]) -> None:
        self._dataset = dataset
        self._needed = needed

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Data:
        graph = self._dataset[index]
        for label in self._needed.values():
            if label not in graph:
                options = [f"model.{o}" for o, n in self._needed.items() if n == label]
                raise InputError(
                    f"Record {graph.sid or index} has no label '{label}', which every "
                    f"training structure needs for {' and '.join(options)}"
                    f"{_HINTS.get(label, '')}."
                )
            # Of a stress alone NaN says that there is none (`stress_is_known`).
            if label != "stress" and not graph[label].isfinite().all():
                raise InputError(
                    f"Record {graph.sid or index} has {label} that are not finite; "
                    "training needs those of every structure."
                )
        return graph

    @property
    def num_atoms(self) -> np.ndarray:
        """Atoms of each graph (len,) int64."""
        return self._dataset.num_atoms

    @property
    def lacks_stress(self) -> bool:
        """Whether stress is needed, and no structure has one: all are open, or slabs.

        Read are structures up to the first that has one.
        """
        if "stress" not in self._needed.values():
            return False
        return not any(stress_is_known(self[i]).item() for i in range(len(self)))


def check_derivatives(
    dataset: LabelledDataset, targets: Sequence[TargetSpec], force_weight: float
) -> None:
    """Say so where forces are among the labels and nothing is learned from them.

    Raises:
        InputError: Stress is to be learned, and no structure has one.
    """
    potential = any(spec.kind == "potential" for spec in targets)
    if potential and not force_weight and len(dataset) and "forces" in dataset[0]:
        log.info(
            "The training structures have forces, but model.force_weight is 0: they "
            "are not learned."
        )
    if dataset.lacks_stress:
        raise InputError(
            "No training structure has a stress: none is periodic in three directions; "
            "set model.stress_weight to 0."
        )


def tell_units(dataset: GraphDataset, targets: Sequence[TargetSpec]) -> None:
    """Warn of what looks like another unit, as all that follows will be called eV.

    Looked at are the first structures, as ``molflt data check`` does: sums over atoms
    in eV, forces, and positions.
    """
    count = min(len(dataset), SAMPLE)
    sample = [without_missing(dataset[index]) for index in range(count)]
    energies = [spec.name for spec in targets if spec.extensive and spec.unit == "eV"]
    hints = [energy_hint(sample, name) for name in energies]
    hints += [force_hint(sample), work_hint(sample), length_hint(sample)]
    for hint in filter(None, hints):
        log.warning("Units of the training structures: %s.", hint)


def tell_missing(found: Sequence[Statistics], num_structures: int) -> None:
    """Warn of targets that some training structures have no labels of."""
    for statistics in found:
        if missing := num_structures - statistics.num_structures:
            log.warning(
                "%s: %d of %d training structures have no label; they teach nothing "
                "of it.",
                *(statistics.target, missing, num_structures),
            )


def label_of(batch: Batch, name: str) -> Tensor:
    """Return a label of all structures, float64.

    Raises:
        InputError: It is missing.
    """
    if name not in batch:
        raise InputError(
            f"{_one_of(batch.sid)} has no label '{name}'; "
            "training and evaluation need one for every structure."
        )
    return batch[name].to(torch.float64)


def _one_of(sids: Sequence[str]) -> str:
    """Name the records of a batch, which keeps only labels that all of them have."""
    if len(sids) == 1:
        return f"Record {sids[0]}"
    more = ", ..." if len(sids) > 4 else ""
    return f"One of the records {', '.join(sids[:4])}{more}"
