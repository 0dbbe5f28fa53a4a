"""ASE's EMT potential with all pairs evaluated at once.

The same function, parameters and cutoff as `ase.calculators.emt.EMT` (default
``asap_cutoff=False``), which loops over atoms in Python: values agree to rounding
(tests/data/emt/test_potential.py), a relaxation is several times faster.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt
from typing import Any

import ase
import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import beta, parameters
from ase.data import atomic_numbers
from ase.neighborlist import primitive_neighbor_list
from ase.units import Bohr
from numpy.typing import NDArray

Array = NDArray[np.float64]

SKIN = 0.6  # Å; the pair list is rebuilt once an atom has moved half of this
_NEAREST = beta * max(p[1] for p in parameters.values()) * Bohr
CUTOFF = _NEAREST * 0.5 * (sqrt(3.0) + 2.0)  # Å, middle of the smoothing function
SLOPE = log(1.0 / 1e-4 - 1.0) / (2.0 * _NEAREST - CUTOFF)
CUTOFF_LIST = CUTOFF + 0.5  # Å, pairs beyond do not interact


@dataclass(frozen=True)
class _Table:
    """EMT parameters by atomic number, in eV and Å; NaN for elements without any."""

    e0: Array
    s0: Array
    v0: Array
    eta: Array
    kappa: Array
    lam: Array
    n0: Array
    log_gamma1: Array
    prefactor: Array

    @classmethod
    def build(cls) -> "_Table":
        columns = np.full((9, 119), np.nan)
        for symbol, (e0, s0, v0, eta, kappa, lam, n0) in parameters.items():
            s, e, k = s0 * Bohr, eta / Bohr, kappa / Bohr
            shells = beta * s * np.sqrt([1.0, 2.0, 3.0])
            weight = np.array([12, 6, 24]) / 12.0 * _smoothing(shells)
            gamma1 = weight @ np.exp(-e * (shells - beta * s))
            gamma2 = weight @ np.exp(-k / beta * (shells - beta * s))
            columns[:, atomic_numbers[symbol]] = (
                e0, s, v0, e, k, lam / Bohr, n0 / Bohr**3,
                log(12.0 * gamma1), -0.5 * v0 / gamma2,
            )  # fmt: skip
        return cls(*columns)


def _smoothing(r: Array) -> Array:
    return 1.0 / (1.0 + np.exp(SLOPE * (r - CUTOFF)))


TABLE = _Table.build()


class PairEMT(Calculator):
    """Effective medium theory (Jacobsen, Stoltze, Nørskov 1996) as ASE evaluates it.

    Properties: ``energy`` (eV, isolated atoms at -E0 as in ASE) and ``forces``
    (eV/Å). Elements: Al Cu Ag Au Ni Pd Pt, and H C N O "just for fun" (ASE's words).

    Raises:
        NotImplementedError: For an element without parameters, naming it.
    """

    implemented_properties = [  # noqa: RUF012
        "energy",
        "free_energy",
        "forces",
    ]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._origin: Array | None = None

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Fill `results` with the energy and the forces of `atoms`."""
        super().calculate(atoms, properties, system_changes)
        pos = self.atoms.positions
        if (
            self._origin is None
            or set(system_changes) - {"positions"}
            or np.square(pos - self._origin).sum(1).max() > (SKIN / 2) ** 2
        ):
            self._rebuild()
        d = pos[self._j] - pos[self._i] + self._shift
        r2 = np.einsum("pc,pc->p", d, d)
        inside = r2 < CUTOFF_LIST**2
        energy, forces = self._evaluate(
            self._i[inside], self._j[inside], d[inside], np.sqrt(r2[inside])
        )
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}

    def _rebuild(self) -> None:
        """List every pair within the cutoff and the skin once (i < j, or one image)."""
        unknown = set(self.atoms.symbols) - set(parameters)
        if unknown:
            raise NotImplementedError(f"no EMT parameters for {sorted(unknown)}")
        i, j, d = primitive_neighbor_list(
            "ijD",
            self.atoms.pbc,
            self.atoms.cell.complete(),
            self.atoms.positions,
            CUTOFF_LIST + SKIN,
            self_interaction=False,
        )
        shift = d - (self.atoms.positions[j] - self.atoms.positions[i])
        # an atom and its own image: keep one of the two directions
        first = np.where(np.abs(shift) > 1e-6, np.sign(shift), 0.0) @ (100.0, 10.0, 1.0)
        once = (i < j) | ((i == j) & (first > 0))
        self._i, self._j, self._shift = i[once], j[once], shift[once]
        self._z = self.atoms.numbers
        self._origin = self.atoms.positions.copy()

    def _evaluate(
        self, i: NDArray[np.int64], j: NDArray[np.int64], d: Array, r: Array
    ) -> tuple[float, Array]:
        """Energy and forces from pairs i -> j at `d` (p, 3), each counted once."""
        n, t, z = len(self._z), TABLE, self._z
        zi, zj = z[i], z[j]
        w = _smoothing(r)
        dlogw = SLOPE * (w - 1.0)  # (dw/dr) / w
        chi = t.n0[zj] / t.n0[zi]
        eta_i, eta_j = t.eta[zi], t.eta[zj]
        kappa_i, kappa_j = t.kappa[zi] / beta, t.kappa[zj] / beta
        # what j adds to the density at i, and i to that at j
        rho_i = np.exp(-eta_j * (r - beta * t.s0[zj])) * chi * w
        rho_j = np.exp(-eta_i * (r - beta * t.s0[zi])) / chi * w
        pair_i = np.exp(-kappa_j * (r - beta * t.s0[zj])) * chi * w * t.prefactor[zi]
        pair_j = np.exp(-kappa_i * (r - beta * t.s0[zi])) / chi * w * t.prefactor[zj]

        sigma = np.bincount(i, rho_i, n) + np.bincount(j, rho_j, n)
        bound = sigma > 0  # an atom alone has no cohesive energy at all
        s = np.where(bound, sigma, 1.0)
        stretch = -(np.log(s) - t.log_gamma1[z]) / (beta * t.eta[z])
        decay = np.exp(-t.lam[z] * stretch)
        repulsion = 6.0 * t.v0[z] * np.exp(-t.kappa[z] * stretch)
        cohesive = t.e0[z] * (1.0 + t.lam[z] * stretch) * decay + repulsion
        slope = -t.e0[z] * t.lam[z] ** 2 * stretch * decay - t.kappa[z] * repulsion
        slope = np.where(bound, -slope / (beta * t.eta[z] * s), 0.0)  # d / d sigma

        dedr = (
            slope[i] * rho_i * (dlogw - eta_j)
            + slope[j] * rho_j * (dlogw - eta_i)
            + pair_i * (dlogw - kappa_j)
            + pair_j * (dlogw - kappa_i)
        )
        f = (dedr / r)[:, None] * d  # on i
        forces = np.empty((n, 3))
        for axis in range(3):
            column = f[:, axis]
            forces[:, axis] = np.bincount(i, column, n) - np.bincount(j, column, n)
        energy = np.where(bound, cohesive, 0.0).sum() + pair_i.sum() + pair_j.sum()
        return float(energy - t.e0[z].sum()), forces
