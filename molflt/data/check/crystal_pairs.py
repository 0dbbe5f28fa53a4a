"""Pairs of crystals that differ in volume and have one composition."""

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from ase.units import GPa
from torch_geometric.data import Data

_LEAST_STRAIN = 0.01  # of the volume, between two crystals that are compared
_LEAST_MODULUS = 1.0 * GPa  # change of pressure by that strain; no crystal is softer
_WIDEST_GAP = 6.0  # Å between planes of atoms; more is vacuum
_FEWEST = 10  # crystals that a suspicion is built on
_EXPLAINED = 0.5  # of the squares of energy differences, by the work of the stress
_SHARE = 0.75  # of pairs that agree on the sign
_DEVIATIONS = 3.0  # by which they agree more than chance would have it


class CrystalPairs:
    """Crystals with stress, and those pairs of them whose stress can be compared.

    Left out are structures with a vacuum, whose volume is arbitrary.

    Args:
        crystals: Structures with stress.

    Attributes:
        volumes: Of all crystals [Å^3].
    """

    def __init__(self, crystals: Sequence[Data]) -> None:
        self.volumes = np.array([float(g.cell.double().det().abs()) for g in crystals])
        sizes = np.array([len(graph.z) for graph in crystals])
        traces = [float(g.stress[0].double().trace()) for g in crystals]
        self._tension = np.array(traces) / 3
        self._volume = self.volumes / sizes  # of an atom
        energies = [float(g.energy) if "energy" in g else math.nan for g in crystals]
        self._energy = np.array(energies) / sizes
        groups: dict[tuple[tuple[int, int], ...], list[int]] = defaultdict(list)
        for index, graph in enumerate(crystals):
            if _widest_gap(graph) < _WIDEST_GAP:
                groups[_composition(graph)].append(index)
        self._groups = [np.array(members) for members in groups.values()]
        found = [
            members[list(np.triu_indices(len(members), 1))] for members in self._groups
        ]
        self._first, self._second = np.concatenate(
            [np.zeros((2, 0), dtype=int), *found], axis=1
        )
        change = np.log(self._volume[self._second] / self._volume[self._first])
        kept = np.abs(change) > _LEAST_STRAIN
        self._first, self._second = self._first[kept], self._second[kept]

        modulus = (self._tension[self._second] - self._tension[self._first]) / change[
            kept
        ]
        # Pairs under one pressure say nothing.
        self._told = np.abs(modulus) > _LEAST_MODULUS
        self._rises = int((modulus > _LEAST_MODULUS).sum())
        self._falls = int((modulus < -_LEAST_MODULUS).sum())

    @property
    def trend(self) -> int:
        """1: in most pairs the stress is larger where the volume is; -1: smaller; 0."""
        needed = _SHARE * (self._rises + self._falls)
        return int(self._rises > needed) - int(self._falls > needed)

    @property
    def fall(self) -> bool:
        """Whether stress clearly becomes smaller as the volume becomes larger.

        By Kendall's rank correlation within compositions: most pairs say so, and more
        than chance would have it.
        """
        seen = self._seen(self._told)
        counts = [sum(i in seen for i in group.tolist()) for group in self._groups]
        variance = sum(n * (n - 1) * (2 * n + 5) / 18 for n in counts)
        clear = self._falls - self._rises > _DEVIATIONS * math.sqrt(variance)
        return len(seen) >= _FEWEST and self.trend < 0 and clear

    def energy_over_work(self, scale: np.ndarray) -> float | None:
        r"""Return by what energies change, over the work of the stress.

        The factor f of least squares over all pairs, of energies and volumes per atom,

            E_2 - E_1 = f (p_1 + p_2) / 2 (V_2 - V_1),   p = tr(stress) / 3,

        None: there are too few pairs, or energies differ by more than that explains
        half of, as those of different structures do.

        Args:
            scale: What each crystal's stress is multiplied by.
        """
        tension = self._tension * scale
        energy, volume = (
            x[self._second] - x[self._first] for x in (self._energy, self._volume)
        )
        work = (tension[self._first] + tension[self._second]) / 2 * volume
        good = np.isfinite(energy)
        energy, work = energy[good], work[good]
        product, square = float(energy @ work), float(work @ work)
        explained = product**2 > _EXPLAINED * float(energy @ energy) * square
        if len(self._seen(good)) < _FEWEST or not explained:
            return None
        return product / square

    def _seen(self, chosen: np.ndarray) -> set[int]:
        """Return the crystals of the pairs chosen."""
        return {*self._first[chosen].tolist(), *self._second[chosen].tolist()}


def _composition(graph: Data) -> tuple[tuple[int, int], ...]:
    """Return the elements with their counts, without a common divisor."""
    elements, counts = np.unique(graph.z.numpy(), return_counts=True)
    counts = counts // math.gcd(*counts.tolist())
    return tuple(zip(elements.tolist(), counts.tolist(), strict=True))


def _widest_gap(graph: Data) -> float:
    """Return the widest gap [Å] between atoms along the normals of the cell's faces."""
    inverse = np.linalg.inv(graph.cell[0].double().numpy())
    places = np.sort(graph.pos.double().numpy() @ inverse % 1.0, axis=0)
    gaps = np.diff(places, axis=0, append=places[:1] + 1.0).max(axis=0)
    return float((gaps / np.linalg.norm(inverse, axis=0)).max())
