"""Forces and stress: derivatives of an energy along moved atoms and a strained box."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from molflt.typing import Cells, GraphIndex, Positions


class EnergyForces(NamedTuple):
    """An energy and its derivatives, in units of the energy, Å and Å^3.

    Args:
        energy: E (g,), float64.
        forces: -dE/dr_i (n, 3).
        stress: (1/V) dE/d(strain) (g, 3, 3), symmetric, positive under tension; None
            where it was not asked for.
        normalised: E less its offset, in units of its standard deviation (g,).
    """

    energy: Float[Tensor, " g"]
    forces: Positions
    stress: Cells | None
    normalised: Float[Tensor, " g"]


class Deformation:
    r"""Positions and cell as functions of a strain eps, taken at eps = 0.

        r_i(eps) = r_i (1 + eps),   a_k(eps) = a_k (1 + eps),   eps = (eta + eta^T) / 2

    for row vectors r_i and lattice vectors a_k. What is computed from `pos` and `cell`
    is differentiated by `derivatives`. Neighbours and lattice modes are found from the
    values, so they are the same on both sides of the derivative.

    Args:
        pos: Positions r_i (n, 3) [Å]; if they require a gradient, the graph behind
            them is kept, for derivatives of the forces.
        batch: Graph of each atom (n,).
        num_graphs: Number of graphs g.
        cell: Lattice vectors as rows a_k (g, 3, 3) [Å], or None.
        stress: Whether derivatives by the strain are wanted.
        strained: Graphs that are strained (g,), which need a volume; others have the
            stress NaN. None: all.

    Raises:
        ValueError: Stress without a cell.

    Source: F. Knuth et al., Comput. Phys. Commun. 190, 33 (2015), Eq. 1 and 5, for
    strain and stress.
    """

    def __init__(
        self,
        pos: Positions,
        batch: GraphIndex,
        num_graphs: int,
        cell: Cells | None = None,
        *,
        stress: bool = False,
        strained: Bool[Tensor, " g"] | None = None,
    ) -> None:
        if not pos.requires_grad:
            pos = pos.detach().requires_grad_(True)
        self._leaves = [pos]
        self._cell, self._strained = cell, strained
        self.pos, self.cell = pos, cell
        if stress:
            if cell is None:
                raise ValueError("stress needs a cell")
            eta = pos.new_zeros(num_graphs, 3, 3).requires_grad_(True)
            self._leaves.append(eta)
            strain = (eta + eta.transpose(1, 2)) / 2
            if strained is not None:
                strain = strain * strained[:, None, None]
            self.pos = pos + torch.einsum("nx,nxy->ny", pos, strain[batch])
            self.cell = cell + cell @ strain.to(cell)

    def derivatives(
        self, energy: Float[Tensor, " g"], *, create_graph: bool = False
    ) -> tuple[Positions, Cells | None]:
        """Return forces (n, 3) and stress (g, 3, 3), or None without strain.

        Args:
            energy: Energy of each graph, a function of `pos` and `cell`.
            create_graph: Whether the results shall be differentiated themselves.
        """
        slopes = torch.autograd.grad(
            energy.sum(),
            self._leaves,
            create_graph=create_graph,
            materialize_grads=True,  # an atom alone feels nothing
        )
        if len(slopes) == 1:
            return -slopes[0], None
        assert self._cell is not None
        volume = torch.linalg.det(self._cell.to(slopes[1])).abs()
        if self._strained is None:
            return -slopes[0], slopes[1] / volume[:, None, None]
        # Divided by 1 elsewhere: a NaN that is left out still has a gradient of NaN.
        stress = slopes[1] / volume.where(self._strained, 1.0)[:, None, None]
        return -slopes[0], stress.where(self._strained[:, None, None], torch.nan)
