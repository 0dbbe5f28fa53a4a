"""References and means of targets, by least squares that reads a set once."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch_geometric.data import Data

from molflt.elements import NUM_SPECIES
from molflt.graph.moments import squared_radii
from molflt.targets import TargetSpec

WORTH = 0.5
"""Part of the mean's spread that references of relaxed energies may leave."""


class Fit(NamedTuple):
    """What is subtracted from the labels of a target.

    Args:
        elements: Species of the structures that have a label.
        by_element: Reference of one atom by atomic number; empty: there are none.
        by_moment: Reference of 1 Å^2 of squared distance by atomic number, or empty.
        mean: Mean label where there are no references, or 0.
        rest: Norm of the labels less this.
        determined: Whether the structures fix each reference by itself.
    """

    elements: tuple[int, ...]
    by_element: dict[int, float]
    by_moment: dict[int, float]
    mean: float
    rest: float
    determined: bool


class Baselines:
    """The least-squares problems of several targets, reduced as structures come.

    Rows are [terms of baselines, labels], of which the triangle of a QR factorisation
    is kept. Structures without labels of some targets are rows of the others alone.

    Args:
        specs: The targets.
    """

    def __init__(self, specs: Sequence[TargetSpec]) -> None:
        self._specs = specs
        self.counts = np.zeros(len(specs), dtype=int)
        self._present = np.zeros((len(specs), NUM_SPECIES), dtype=bool)
        self._moments = any(spec.readout == "extent" for spec in specs)
        size = NUM_SPECIES * (1 + self._moments) + 1
        self._whole = np.zeros((0, size + len(specs)))
        self._parts = [np.zeros((0, size + 1)) for _ in specs]

    def add(self, graphs: Sequence[Data], labels: np.ndarray) -> None:
        """Take structures into account.

        Args:
            graphs: The structures.
            labels: Their labels (g, targets); NaN: there is none.
        """
        terms = _terms(graphs, moments=self._moments)
        known = ~np.isnan(labels)
        whole = known.all(axis=1)
        rows = np.column_stack([terms, labels])[whole]
        self._whole = _reduced(self._whole, rows)
        self.counts += known.sum(axis=0)
        self._present |= known.T @ (terms[:, :NUM_SPECIES] > 0)
        partly = known & ~whole[:, None]
        for index in np.flatnonzero(partly.any(axis=0)):
            own = partly[:, index]
            rows = np.column_stack([terms[own], labels[own, index]])
            self._parts[index] = _reduced(self._parts[index], rows)

    def fit(self, index: int) -> Fit:
        """Return the baseline of a target, given its number."""
        elements = np.flatnonzero(self._present[index])
        others = self._whole.shape[1] - len(self._specs)
        shared = self._whole[:, [*range(others), others + index]]
        rows = np.concatenate([shared, self._parts[index]])
        found, rest = _baseline(rows, elements, self._specs[index])
        by_element = _by_element(found[:NUM_SPECIES], elements)
        rank = np.linalg.matrix_rank(rows[:, elements]) if by_element else 0
        return Fit(
            tuple(int(z) for z in elements),
            by_element,
            _by_element(found[NUM_SPECIES:-1], elements),
            float(found[-1]),
            rest,
            not by_element or int(rank) == len(elements),
        )


def _reduced(triangle: np.ndarray, rows: np.ndarray) -> np.ndarray:
    if not len(rows):
        return triangle
    return np.asarray(np.linalg.qr(np.concatenate([triangle, rows]), mode="r"))


def _terms(graphs: Sequence[Data], *, moments: bool) -> np.ndarray:
    """Return counts of elements, perhaps their moments, and 1 for each graph."""
    z = torch.cat([graph.z for graph in graphs])
    sizes = torch.tensor([len(graph.z) for graph in graphs])
    batch = torch.repeat_interleave(torch.arange(len(graphs)), sizes)
    shape = (len(graphs), NUM_SPECIES)
    column = (batch * NUM_SPECIES + z).numpy()
    counts = np.bincount(column, minlength=np.prod(shape)).reshape(shape)
    if not moments:
        return np.column_stack([counts, np.ones(len(graphs))])
    pos = torch.cat([graph.pos for graph in graphs])
    squares = squared_radii(z, pos, batch, len(graphs)).numpy()
    weighted = np.bincount(column, squares, np.prod(shape)).reshape(shape)
    return np.column_stack([counts, weighted, np.ones(len(graphs))])


def _baseline(
    rows: np.ndarray, elements: np.ndarray, spec: TargetSpec
) -> tuple[np.ndarray, float]:
    """Return the coefficients of all terms, 0 for those not used, and what is left."""
    # Published references (`spec.element_reference`) are not used here: energies of
    # free atoms leave the whole binding energy, some 75 eV a molecule in QM9, to be
    # learned, and the fit to labels less references is the fit to the labels.
    mean = np.array([rows.shape[1] - 2])
    if spec.interaction:
        return _solve(rows, mean[:0])  # nothing is between parts that are far
    match spec.readout:
        case "dipole":
            return _solve(rows, mean[:0])
        case "extent":
            return _solve(rows, np.concatenate([elements, elements + NUM_SPECIES]))
    by_mean = _solve(rows, mean)
    if not spec.extensive:
        return by_mean
    by_element = _solve(rows, elements)
    if spec.kind == "relaxed" and by_element[1] > WORTH * by_mean[1]:
        return by_mean
    return by_element


def _solve(rows: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the least-squares coefficients of some terms, and the norm of the rest."""
    columns, labels = rows[:, :-1][:, used], rows[:, -1]
    coefficients = np.zeros(rows.shape[1] - 1)
    coefficients[used] = np.linalg.lstsq(columns, labels, rcond=None)[0]
    return coefficients, float(np.linalg.norm(columns @ coefficients[used] - labels))


def _by_element(fit: np.ndarray, elements: np.ndarray) -> dict[int, float]:
    """Return the references by atomic number; empty if none was used."""
    return {int(z): float(fit[z]) for z in elements} if fit.any() else {}
