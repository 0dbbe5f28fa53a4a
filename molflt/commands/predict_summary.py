"""What a run of ``molflt predict`` read, and how far labels are from predictions."""

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from molflt.domain import Domain, flags
from molflt.errors import InputError
from molflt.evaluation import Ensemble
from molflt.predict import Structure
from molflt.targets import ENERGY_THRESHOLD

LISTED = 10
"""Errors that are named one by one."""


@dataclass
class Differences:
    """Sums of errors against labels: mean absolute error, errors within threshold."""

    count: int = 0
    total: float = 0.0
    within: int = 0
    structures: int = 0

    def add(self, errors: np.ndarray) -> None:
        """Add the errors of one structure."""
        size = np.abs(errors)
        self.count += size.size
        self.total += float(size.sum())
        self.within += int((size < ENERGY_THRESHOLD).sum())
        self.structures += 1

    def words(self, unit: str, *, threshold: bool) -> str:
        """Return the errors in words."""
        ewt = f", EwT {100 * self.within / self.count:.1f} %" if threshold else ""
        labels = f"{self.structures} labels in the input"
        return f"MAE {self.total / self.count:.4g} {unit}{ewt} against {labels}"


class Summary:
    """Counts what passes; memory does not grow with the number of structures.

    Args:
        ensemble: The models.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        self._units = {spec.name: spec.unit for spec in ensemble.targets}
        self._domain = Domain(ensemble.models)
        self._differences = {name: Differences() for name in [*self._units, "forces"]}
        self._readings: Counter[tuple[str, bool, tuple[bool, ...]]] = Counter()
        self._errors: list[str] = []
        self.num_errors = 0
        self.count = 0

    def watch(self, items: Iterator[Structure | InputError]) -> Iterator[Structure]:
        """Pass on the structures and keep the errors."""
        for item in items:
            if isinstance(item, InputError):
                self._failed(str(item))
                continue
            for sentence in item.failures.values():
                self._failed(sentence)
            bare = self._domain.lacks_tags(item.system["tags"])
            self._readings[item.tags, bare, tuple(item.atoms.pbc.tolist())] += 1
            for name, value in item.values.items():
                if name in item.labels:
                    error = value - item.labels[name]
                    self._differences[name].add(np.array([error]))
            if "forces" in item.arrays and item.forces_label is not None:
                error = item.arrays["forces"] - item.forces_label
                self._differences["forces"].add(error)
            self.count += 1
            yield item

    def _failed(self, sentence: str) -> None:
        self.num_errors += 1
        if len(self._errors) < LISTED:
            self._errors.append(sentence)

    def report(self) -> None:
        """Print the summary on stderr."""
        if sentence := self._domain.silence():
            _say(f"warning: {sentence}")
        for (tags, bare, pbc), count in self._readings.items():
            tags += ", unlike all of the training set" if bare else ""
            unknown = self._domain.unknown_periodicity(pbc) is not None
            new = ", which the training set has not" if unknown else ""
            _say(f"{count} structures: {tags}; pbc {flags(pbc)}{new}")
        for name, differences in self._differences.items():
            if differences.count:
                unit = self._units.get(name, "eV/Å")
                words = differences.words(unit, threshold=unit == "eV")
                _say(f"{name}: {words}")
        if self.num_errors:
            for error in self._errors:
                _say(f"molflt: {error}")
            more = self.num_errors - len(self._errors)
            rest = f", {more} of them not listed" if more else ""
            _say(
                f"molflt: {self.num_errors} structures, files or targets could not be "
                f"used{rest}."
            )

    def all_failed(self) -> str:
        """Return one sentence for the case that nothing could be predicted."""
        if self.num_errors == 1:
            return self._errors[0]
        return f"None of {self.num_errors} inputs could be used; {self._errors[0]}"


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)
