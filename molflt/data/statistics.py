"""What a training set says about a target: atom references, spread, ranges."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
from torch_geometric.data import Data

from molflt.data.dataset import GraphDataset
from molflt.data.progress import track
from molflt.errors import InputError
from molflt.targets import TargetSpec

_BATCH = 2048
_ELEMENTS = 119  # columns by atomic number, 0 unused


@dataclass(frozen=True)
class Statistics:
    """Summary of one target on one set of structures, in units of the target.

    With c_z the number of atoms of element z in a structure, its label y is written as

        y = sum_z c_z element_reference[z] + mean + std * (what the model learns)

    Args:
        target: Name of the target.
        unit: Its unit.
        element_reference: Contribution of one atom by atomic number, the least-squares
            fit of least norm; empty if not extensive.
        mean: Mean label if not extensive; 0 if extensive, where a constant per
            structure would break E(2 copies) = 2 E.
        std: Root mean square of the rest, y - references - mean; 1 if that vanishes.
        rmse: The same before the guard against zero: error of this baseline.
        num_structures: Structures seen.
        elements: Their elements, ascending.
        num_atoms_min: Atoms of the smallest structure.
        num_atoms_max: Atoms of the largest structure.
        target_min: Smallest label.
        target_max: Largest label.
        pbc_seen: Patterns of periodic directions that occur.
    """

    target: str
    unit: str
    element_reference: dict[int, float]
    mean: float
    std: float
    rmse: float
    num_structures: int
    elements: tuple[int, ...]
    num_atoms_min: int
    num_atoms_max: int
    target_min: float
    target_max: float
    pbc_seen: list[list[bool]]

    def plain(self) -> dict[str, Any]:
        """Return the fields as JSON-like types."""
        return asdict(self) | {"elements": list(self.elements)}

    @classmethod
    def from_plain(cls, fields: dict[str, Any]) -> "Statistics":
        """Rebuild from `plain()`; keys of `element_reference` may be strings (JSON)."""
        reference = fields["element_reference"]
        return cls(
            **fields
            | {
                "elements": tuple(int(z) for z in fields["elements"]),
                "element_reference": {int(z): float(v) for z, v in reference.items()},
            }
        )


def fit_statistics(
    dataset: GraphDataset, spec: TargetSpec, *, progress: bool | None = False
) -> Statistics:
    """Fit references and spread in one pass over the set, in float64.

    The least-squares problem is reduced by QR factorisations batch by batch: memory
    does not grow with the set, and the condition number is not squared as it is by
    normal equations.

    Args:
        dataset: Structures with labels.
        spec: The target.
        progress: Draw a bar; None: only on a terminal.

    Raises:
        InputError: The set is empty, or a label is missing or not finite (names the
            id).
    """
    indices = range(len(dataset))
    bar = track(indices, f"statistics of {spec.name}", show=progress)
    graphs = (dataset[index] for index in bar)
    # Upper triangle of the QR factorisation of the rows [counts, 1, label].
    triangle = np.zeros((0, _ELEMENTS + 2))
    present = np.zeros(_ELEMENTS, dtype=bool)
    sizes: set[int] = set()
    patterns: set[tuple[bool, ...]] = set()
    lowest, highest, count = np.inf, -np.inf, 0
    while batch := list(islice(graphs, _BATCH)):
        labels = _labels(batch, spec)
        rows = np.zeros((len(batch), _ELEMENTS + 2))
        for row, graph in zip(rows, batch, strict=True):
            row[:_ELEMENTS] = np.bincount(graph.z.numpy(), minlength=_ELEMENTS)
            sizes.add(len(graph.z))
            patterns.add(tuple(graph.pbc[0].tolist()))
        rows[:, _ELEMENTS] = 1.0
        rows[:, -1] = labels
        present |= rows[:, :_ELEMENTS].any(axis=0)
        stacked = np.concatenate([triangle, rows])
        triangle = np.asarray(np.linalg.qr(stacked, mode="r"))
        lowest, highest = min(lowest, labels.min()), max(highest, labels.max())
        count += len(batch)
    if not count:
        raise InputError(f"There is no structure to fit target {spec.name!r} to.")
    elements = np.flatnonzero(present)
    reference, mean = _solve(triangle, elements, spec)
    solution = np.zeros(_ELEMENTS + 2)
    solution[list(reference)] = list(reference.values())
    solution[_ELEMENTS], solution[-1] = mean, -1.0
    rmse = float(np.linalg.norm(triangle @ solution) / np.sqrt(count))
    negligible = rmse <= 1e-9 * max(1.0, abs(lowest), abs(highest))
    return Statistics(
        target=spec.name,
        unit=spec.unit,
        element_reference=reference,
        mean=mean,
        std=1.0 if negligible else rmse,
        rmse=rmse,
        num_structures=count,
        elements=tuple(int(z) for z in elements),
        num_atoms_min=min(sizes),
        num_atoms_max=max(sizes),
        target_min=float(lowest),
        target_max=float(highest),
        pbc_seen=[list(pattern) for pattern in sorted(patterns)],
    )


def _labels(graphs: Iterable[Data], spec: TargetSpec) -> np.ndarray:
    labels = []
    for graph in graphs:
        if spec.name not in graph:
            raise InputError(f"Structure {graph.sid!r} has no label {spec.name!r}.")
        label = float(graph[spec.name])
        if not np.isfinite(label):
            raise InputError(
                f"Structure {graph.sid!r} has the label {spec.name} = {label}."
            )
        labels.append(label)
    return np.array(labels)


def _solve(
    triangle: np.ndarray, elements: np.ndarray, spec: TargetSpec
) -> tuple[dict[int, float], float]:
    """Return references and mean from the triangle's columns."""
    if not spec.extensive:
        column = triangle[:, _ELEMENTS]
        return {}, float(column @ triangle[:, -1] / (column @ column))
    # Published references (`spec.element_reference`) are not used here: energies of
    # free atoms leave the whole binding energy, some 75 eV a molecule in QM9, to be
    # learned, and the fit to labels less references is the fit to the labels.
    fit = np.linalg.lstsq(triangle[:, elements], triangle[:, -1], rcond=None)[0]
    return {int(z): float(v) for z, v in zip(elements, fit, strict=True)}, 0.0
