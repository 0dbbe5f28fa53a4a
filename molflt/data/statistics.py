"""What a training set says about a target: atom references, spread, ranges."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols
from torch_geometric.data import Data

from molflt.data.baselines import Baselines
from molflt.data.dataset import GraphDataset
from molflt.data.progress import track
from molflt.errors import InputError
from molflt.graph.parts import ADSORBATE
from molflt.targets import TargetSpec

_BATCH = 2048


@dataclass(frozen=True)
class Statistics:
    """Summary of one target on one set of structures, in units of the target.

    With c_z the number of atoms of element z in a structure and m_z the sum of their
    squared distances [Å^2] from the centre of mass, its label y is written as

        y = sum_z (c_z element_reference[z] + m_z moment_reference[z]) + mean
            + std * (what the model learns)

    Which terms there are depends on the target: references of elements where it is
    extensive, of moments too for a spatial extent, a mean where it is not; none for the
    length of a dipole and for interaction energies, for which nought is special.

    Energies after relaxation have a mean instead of references, too, unless these leave
    less than half of its spread: adsorption energies have no part in proportion to the
    atoms of a slab, and what a fit says about elements misleads on other adsorbates.

    Args:
        target: Name of the target.
        unit: Its unit.
        element_reference: Contribution of one atom by atomic number, the least-squares
            fit of least norm; may be empty.
        mean: Mean label where there are no references; else 0, as a constant per
            structure would break E(2 copies) = 2 E, and for a dipole.
        std: Root mean square of the rest, y - references - mean; 1 if that vanishes.
        rmse: The same before the guard against zero: error of this baseline.
        num_structures: Structures seen that have a label.
        elements: Their elements, ascending.
        num_atoms_min: Atoms of the smallest structure.
        num_atoms_max: Atoms of the largest structure.
        target_min: Smallest label.
        target_max: Largest label.
        pbc_seen: Patterns of periodic directions that occur.
        moment_reference: Contribution of 1 Å^2 of squared distance by atomic number,
            fitted with `element_reference`; empty unless a spatial extent.
        tags_seen: Tags of atoms that occur, -1 for none; empty: not known.
        determined: Whether the compositions that occur fix each reference by itself. If
            not, energies of other compositions count from an arbitrary zero.
        odd_electrons_seen: Whether a structure without periodic directions has an odd
            number of electrons, as a neutral molecule.
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
    determined: bool = True
    odd_electrons_seen: bool = False

    @property
    def undetermined(self) -> str | None:
        """A sentence for the case that the references are not determined."""
        if self.determined:
            return None
        names = ", ".join(chemical_symbols[z] for z in self.elements)
        return (
            f"{self.target}: the compositions of these structures do not determine the "
            f"references of {names} one by one; energies of other compositions may be "
            "far off."
        )

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


def fit_statistics(dataset: GraphDataset, spec: TargetSpec) -> Statistics:
    """Return what `fit_all_statistics` does, of one target."""
    (found,) = fit_all_statistics(dataset, [spec])
    return found


def fit_all_statistics(
    dataset: GraphDataset,
    specs: Sequence[TargetSpec],
    *,
    progress: bool | None = False,
) -> list[Statistics]:
    """Fit references and spreads in one pass over the set, in float64.

    The least-squares problems are reduced by QR factorisations batch by batch: memory
    does not grow with the set, and the condition number is not squared as it is by
    normal equations. A label that is NaN is missing: nothing is learned of it.

    Args:
        dataset: Structures with labels.
        specs: The targets.
        progress: Draw a bar; None: only on a terminal.

    Raises:
        InputError: The set is empty, a label is not there or infinite (names the id),
            all labels of a target are NaN, or a target is an interaction and there are
            no adsorbates.
    """
    names = ", ".join(spec.name for spec in specs)
    bar = track(range(len(dataset)), f"statistics of {names}", show=progress)
    graphs = (dataset[index] for index in bar)
    fitted = Baselines(specs)
    sizes: set[int] = set()
    patterns: set[tuple[bool, ...]] = set()
    tags: set[int] = set()
    odd = False
    lowest, highest = np.full(len(specs), np.inf), np.full(len(specs), -np.inf)
    while batch := list(islice(graphs, _BATCH)):
        labels = np.column_stack([_labels(batch, spec) for spec in specs])
        fitted.add(batch, labels)
        sizes |= {len(graph.z) for graph in batch}
        patterns |= {tuple(graph.pbc[0].tolist()) for graph in batch}
        odd = odd or any(_is_odd_molecule(graph) for graph in batch)
        tags |= set(torch.cat([graph.tags for graph in batch]).unique().tolist())
        lowest = np.fmin(lowest, np.fmin.reduce(labels))
        highest = np.fmax(highest, np.fmax.reduce(labels))
    if not sizes:
        raise InputError(f"There is no structure to fit target {names!r} to.")
    shared = {
        "num_atoms_min": min(sizes),
        "num_atoms_max": max(sizes),
        "pbc_seen": [list(pattern) for pattern in sorted(patterns)],
        "tags_seen": sorted(tags),
        "odd_electrons_seen": odd,
    }
    return [
        _of_target(spec, fitted, i, (float(lowest[i]), float(highest[i])), shared)
        for i, spec in enumerate(specs)
    ]


def _of_target(
    spec: TargetSpec,
    fitted: Baselines,
    index: int,
    ends: tuple[float, float],
    shared: dict[str, Any],
) -> Statistics:
    if spec.interaction and ADSORBATE not in shared["tags_seen"]:
        raise InputError(
            f"No structure has an atom with tag {ADSORBATE}, an adsorbate's, so "
            f"{spec.name!r} cannot be learned as an interaction energy."
        )
    count = int(fitted.counts[index])
    if not count:
        raise InputError(f"No structure has a label {spec.name!r}: all are NaN.")
    fit = fitted.fit(index)
    rmse = fit.rest / math.sqrt(count)
    # Of the labels, whatever their unit: joules of a molecule are all below 1e-17.
    negligible = rmse <= 1e-9 * max(map(abs, ends))
    return Statistics(
        target=spec.name,
        unit=spec.unit,
        element_reference=fit.by_element,
        mean=fit.mean,
        std=1.0 if negligible else rmse,
        rmse=rmse,
        num_structures=count,
        elements=fit.elements,
        target_min=ends[0],
        target_max=ends[1],
        moment_reference=fit.by_moment,
        determined=fit.determined,
        **shared,
    )


def _is_odd_molecule(graph: Data) -> bool:
    return bool(graph.z.sum() % 2) and not bool(graph.pbc.any())


def _labels(graphs: Iterable[Data], spec: TargetSpec) -> np.ndarray:
    labels = []
    for graph in graphs:
        if spec.name not in graph:
            raise InputError(f"Structure {graph.sid!r} has no label {spec.name!r}.")
        label = float(graph[spec.name])
        if math.isinf(label):
            raise InputError(
                f"Structure {graph.sid!r} has the label {spec.name} = {label}."
            )
        labels.append(label)
    return np.array(labels)
