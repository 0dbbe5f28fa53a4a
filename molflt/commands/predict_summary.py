"""What a run of ``molflt predict`` read, and how far labels are from predictions."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress

from molflt.commands.failures import Failures
from molflt.commands.readings import Readings, say
from molflt.data.crystals import is_crystal
from molflt.domain import Domain
from molflt.errors import InputError
from molflt.evaluation import Ensemble
from molflt.predict import Structure
from molflt.targets import ENERGY_THRESHOLD

_DERIVATIVES = {"forces": "eV/Å", "stress": "eV/Å^3"}


@dataclass
class Differences:
    """Sums of errors against labels: mean absolute error, errors within threshold."""

    count: int = 0
    total: float = 0.0
    within: int = 0
    structures: int = 0

    def add(self, errors: np.ndarray) -> None:
        """Add the errors of one structure; there may be none."""
        size = np.abs(errors)
        self.count += size.size
        self.total += float(size.sum())
        self.within += int((size < ENERGY_THRESHOLD).sum())
        self.structures += size.size > 0

    def words(self, unit: str, *, threshold: bool) -> str:
        """Return the errors in words."""
        ewt = f", EwT {100 * self.within / self.count:.1f} %" if threshold else ""
        labels = f"{self.structures} labels in the input"
        return f"MAE {self.total / self.count:.4g} {unit}{ewt} against {labels}"


class Summary:
    """Counts what passes; memory grows only with what fails.

    Args:
        ensemble: The models.
        stress: Whether stress is predicted, where there is one.
        keys: Other names of labels that were asked for, by target.

    Attributes:
        failures: Sentences about structures, files and targets.
        count: Structures that passed.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        stress: bool = False,
        keys: dict[str, str | None] | None = None,
    ) -> None:
        self._units = {spec.name: spec.unit for spec in ensemble.targets}
        # A file does not say what its energy is; a calculator's is of this geometry.
        self._meanings = {
            spec.name: f", taken for relaxed energies, zero: {spec.reference}"
            for spec in ensemble.targets
            if spec.kind == "relaxed"
        }
        self._readings = Readings(Domain(ensemble.models))
        names = [*self._units, *_DERIVATIVES]
        self._differences = {name: Differences() for name in names}
        self._stress, self._unstrained = stress, 0
        self._keys = keys or {}
        self.failures = Failures()
        self.count = 0

    def watch(self, items: Iterator[Structure | InputError]) -> Iterator[Structure]:
        """Pass on the structures and keep the errors."""
        for item in items:
            if isinstance(item, InputError):
                self.failures.add(str(item))
                continue
            for sentence in item.failures.values():
                self.failures.add(sentence)
            self._readings.add(item)
            for name, value in item.values.items():
                if name in item.labels:
                    error = value - item.labels[name]
                    self._differences[name].add(np.array([error]))
            if "forces" in item.arrays and item.forces_label is not None:
                # As `molflt test`: labels of held atoms may be the constraint's zeros.
                error = item.arrays["forces"] - item.forces_label
                self._differences["forces"].add(error[~item.system["fixed"]])
            self._unstrained += self._stress and not is_crystal(item.atoms)
            label = item.stress_label
            if "stress" in item.tensors and label is not None:
                error = item.tensors["stress"] - label
                # Of all nine components, as `molflt test`: shears count twice.
                self._differences["stress"].add(voigt_6_to_full_3x3_stress(error))
            self.count += 1
            yield item

    def report(self, out: Path | None) -> None:
        """Print the summary on stderr; failures that are not listed go beside `out`."""
        self._readings.report()
        if self._unstrained:
            say(
                f"{self._unstrained} structures have no stress: they are not periodic "
                "in three directions"
            )
        for name, differences in self._differences.items():
            if differences.count:
                unit = self._units.get(name) or _DERIVATIVES[name]
                words = differences.words(unit, threshold=unit == "eV")
                say(f"{name}: {words}{self._meanings.get(name, '')}")
            elif key := self._keys.get(name):
                say(f"{name}: nothing in the input is called {key!r}, so no MAE")
        self.failures.report("structures, files or targets", out)
