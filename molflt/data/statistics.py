"""What a training set says about a target: atom references, spread, ranges."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data

from molflt.data.dataset import GraphDataset
from molflt.data.progress import track
from molflt.errors import InputError
from molflt.moments import squared_radii
from molflt.targets import TargetSpec

_BATCH = 2048
_ELEMENTS = 119  # columns by atomic number, 0 unused


@dataclass(frozen=True)
class Statistics:
    """Summary of one target on one set of structures, in units of the target.

    With c_z the number of atoms of element z in a structure and m_z the sum of their
    squared distances [Å^2] from the centre of mass, its label y is written as

        y = sum_z (c_z element_reference[z] + m_z moment_reference[z]) + mean
            + std * (what the model learns)

    Which terms there are depends on the readout of the target: references of elements
    where it is extensive, of moments for a spatial extent, a mean where it is neither
    extensive nor the length of a dipole, for which nought is special.

    Args:
        target: Name of the target.
        unit: Its unit.
        element_reference: Contribution of one atom by atomic number, the least-squares
            fit of least norm; empty if not extensive.
        mean: Mean label if not extensive; 0 if extensive, where a constant per
            structure would break E(2 copies) = 2 E, and for a dipole.
        std: Root mean square of the rest, y - references - mean; 1 if that vanishes.
        rmse: The same before the guard against zero: error of this baseline.
        num_structures: Structures seen.
        elements: Their elements, ascending.
        num_atoms_min: Atoms of the smallest structure.
        num_atoms_max: Atoms of the largest structure.
        target_min: Smallest label.
        target_max: Largest label.
        pbc_seen: Patterns of periodic directions that occur.
        moment_reference: Contribution of 1 Å^2 of squared distance by atomic number,
            fitted with `element_reference`; empty unless a spatial extent.
        tags_seen: Tags of atoms that occur, -1 for none; empty: not known.
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
    moment_reference: dict[int, float] = field(default_factory=dict)
    tags_seen: list[int] = field(default_factory=list)

    @property
    def tagged(self) -> bool:
        """Whether an atom has a tag, as far as it is known."""
        return not self.tags_seen or max(self.tags_seen) >= 0

    def plain(self) -> dict[str, Any]:
        """Return the fields as JSON-like types."""
        return asdict(self) | {"elements": list(self.elements)}

    @classmethod
    def from_plain(cls, fields: dict[str, Any]) -> "Statistics":
        """Rebuild from `plain()`; keys of the references may be strings (JSON)."""
        references = {
            name: {int(z): float(v) for z, v in fields.get(name, {}).items()}
            for name in ("element_reference", "moment_reference")
        }
        elements = tuple(int(z) for z in fields["elements"])
        return cls(**fields | references | {"elements": elements})


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
    # Upper triangle of the QR factorisation of the rows [terms of the baseline, label].
    triangle: np.ndarray | None = None
    present = np.zeros(_ELEMENTS, dtype=bool)
    sizes: set[int] = set()
    patterns: set[tuple[bool, ...]] = set()
    tags: set[int] = set()
    lowest, highest, count = np.inf, -np.inf, 0
    while batch := list(islice(graphs, _BATCH)):
        labels = _labels(batch, spec)
        counts, terms = _terms(batch, spec)
        present |= counts.any(axis=0)
        sizes |= {len(graph.z) for graph in batch}
        patterns |= {tuple(graph.pbc[0].tolist()) for graph in batch}
        tags |= set(torch.cat([graph.tags for graph in batch]).unique().tolist())
        rows = np.column_stack([terms, labels])
        stacked = rows if triangle is None else np.concatenate([triangle, rows])
        triangle = np.asarray(np.linalg.qr(stacked, mode="r"))
        lowest, highest = min(lowest, labels.min()), max(highest, labels.max())
        count += len(batch)
    if triangle is None:
        raise InputError(f"There is no structure to fit target {spec.name!r} to.")
    elements = np.flatnonzero(present)
    fit = _solve(triangle, elements, spec)
    rest = triangle[:, :-1] @ fit.ravel() - triangle[:, -1]
    rmse = float(np.linalg.norm(rest) / np.sqrt(count))
    negligible = rmse <= 1e-9 * max(1.0, abs(lowest), abs(highest))
    return Statistics(
        target=spec.name,
        unit=spec.unit,
        element_reference=_by_element(fit, 0, elements) if spec.extensive else {},
        mean=0.0 if spec.extensive else float(fit.sum()),
        std=1.0 if negligible else rmse,
        rmse=rmse,
        num_structures=count,
        elements=tuple(int(z) for z in elements),
        num_atoms_min=min(sizes),
        num_atoms_max=max(sizes),
        target_min=float(lowest),
        target_max=float(highest),
        pbc_seen=[list(pattern) for pattern in sorted(patterns)],
        moment_reference=_by_element(fit, 1, elements) if len(fit) > 1 else {},
        tags_seen=sorted(tags),
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


def _terms(graphs: list[Data], spec: TargetSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return counts of elements (k, 119), and the terms of the baseline (k, t)."""
    z = torch.cat([graph.z for graph in graphs])
    sizes = torch.tensor([len(graph.z) for graph in graphs])
    batch = torch.repeat_interleave(torch.arange(len(graphs)), sizes)
    shape = (len(graphs), _ELEMENTS)
    column = (batch * _ELEMENTS + z).numpy()
    counts = np.bincount(column, minlength=np.prod(shape)).reshape(shape)
    if spec.readout == "dipole":
        return counts, np.zeros((len(graphs), 0))
    if not spec.extensive:
        return counts, np.ones((len(graphs), 1))
    if spec.readout != "extent":
        return counts, counts
    pos = torch.cat([graph.pos for graph in graphs])
    squares = squared_radii(z, pos, batch, len(graphs)).numpy()
    moments = np.bincount(column, squares, np.prod(shape)).reshape(shape)
    return counts, np.hstack([counts, moments])


def _solve(triangle: np.ndarray, elements: np.ndarray, spec: TargetSpec) -> np.ndarray:
    """Return the least-squares coefficients (rows of 119 if extensive, else one)."""
    # Published references (`spec.element_reference`) are not used here: energies of
    # free atoms leave the whole binding energy, some 75 eV a molecule in QM9, to be
    # learned, and the fit to labels less references is the fit to the labels.
    terms = triangle.shape[1] - 1
    coefficients = np.zeros((max(1, terms // _ELEMENTS), min(terms, _ELEMENTS)))
    used = np.zeros(coefficients.shape, dtype=bool)
    used[:, elements if spec.extensive else slice(None)] = True
    columns = triangle[:, :-1][:, used.ravel()]
    coefficients[used] = np.linalg.lstsq(columns, triangle[:, -1], rcond=None)[0]
    return coefficients


def _by_element(fit: np.ndarray, row: int, elements: np.ndarray) -> dict[int, float]:
    return {int(z): float(fit[row, z]) for z in elements}
