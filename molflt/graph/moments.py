"""Distances of atoms from their centre of mass: shared by statistics and readouts."""

from typing import Final

import torch
from ase.data import atomic_masses
from jaxtyping import Float
from torch import Tensor

from molflt.typing import GraphIndex, Positions, Species

MASSES: Final = torch.tensor(atomic_masses, dtype=torch.float64)
"""Standard atomic weights [u] by atomic number, 0 to 118, as ASE lists them."""


def squared_radii(
    z: Species,
    pos: Positions,
    batch: GraphIndex,
    num_graphs: int,
    masses: Float[Tensor, " z"] = MASSES,
) -> Float[Tensor, " n"]:
    """Return |r_i - c|^2 [Å^2] float64, c the centre of mass of the atom's graph.

    Args:
        z: Atomic numbers (n,).
        pos: Positions (n, 3) [Å].
        batch: Graph of each atom (n,).
        num_graphs: Number of graphs.
        masses: Mass by atomic number.
    """
    weight = masses.to(z.device)[z].unsqueeze(1)
    wide = pos.double()
    sums = torch.cat([weight * wide, weight], dim=1)
    total = sums.new_zeros(num_graphs, 4).index_add(0, batch, sums)
    centre = total[:, :3] / total[:, 3:].clamp(min=1e-12)
    return (wide - centre[batch]).square().sum(dim=1)
