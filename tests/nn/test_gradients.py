"""Derivatives of energies whose forces and stress are known in closed form."""

import pytest
import torch

from molflt.nn.gradients import Deformation

CELL = torch.tensor([[[3.0, 0.2, 0.0], [0.1, 4.0, 0.3], [0.0, 0.5, 5.0]]]).double()
POS = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).double()
ONE = torch.zeros(4, dtype=torch.int64)


def test_virial_of_springs():
    """E = sum of |D|^2 / 2 over pairs and one image: tau = (1/V) sum of D D^T."""
    first, second = torch.triu_indices(4, 4, 1)
    deformation = Deformation(POS, ONE, 1, CELL, stress=True)
    delta = deformation.pos[first] - deformation.pos[second]
    delta = torch.cat([delta, delta[:1] + deformation.cell[0, 1]])
    forces, stress = deformation.derivatives(delta.square().sum()[None] / 2)
    fixed = torch.cat([POS[first] - POS[second], (POS[0] - POS[1] + CELL[0, 1])[None]])
    virial = fixed.T @ fixed / torch.linalg.det(CELL[0])
    torch.testing.assert_close(stress[0], virial)
    i = torch.cat([first, first[:1]])
    j = torch.cat([second, second[:1]])
    expected = torch.zeros_like(POS).index_add(0, i, -fixed).index_add(0, j, fixed)
    torch.testing.assert_close(forces, expected)


def test_stress_is_symmetric_whatever_the_energy():
    """Of an energy that depends on orientation, the part without a torque is left."""
    deformation = Deformation(POS, ONE, 1, CELL, stress=True)
    energy = (deformation.pos[:, 0] * deformation.pos[:, 1] ** 2).sum()[None]
    _, stress = deformation.derivatives(energy)
    x, y, z = POS.T
    zero = torch.zeros(())
    slope = torch.stack(
        [
            torch.stack([(x * y**2).sum(), 2 * (x * x * y).sum(), zero]),
            torch.stack([(y * y**2).sum(), 2 * (x * y * y).sum(), zero]),
            torch.stack([(z * y**2).sum(), 2 * (x * z * y).sum(), zero]),
        ]
    )  # dE/d(eta_kl) = sum of r_k dE/dr_l
    expected = (slope + slope.T) / 2 / torch.linalg.det(CELL[0])
    torch.testing.assert_close(stress[0], expected)


def test_graphs_have_their_own_strain_and_volume():
    batch = torch.tensor([0, 0, 1, 1])
    cells = torch.cat([CELL, 2 * CELL])
    deformation = Deformation(POS, batch, 2, cells, stress=True)
    square = deformation.pos.square().sum(dim=1) / 2
    energy = torch.zeros(2, dtype=torch.float64).index_add(0, batch, square)
    _, stress = deformation.derivatives(energy)
    for graph, volume in enumerate(torch.linalg.det(cells)):
        rows = POS[batch == graph]
        torch.testing.assert_close(stress[graph], rows.T @ rows / volume)


def test_an_energy_without_positions_has_no_forces():
    deformation = Deformation(POS, ONE, 1)
    constant = torch.ones(1, dtype=torch.float64, requires_grad=True)
    forces, stress = deformation.derivatives(2 * constant)
    assert forces.abs().max() == 0
    assert stress is None
    assert not POS.requires_grad


def test_stress_needs_a_cell():
    with pytest.raises(ValueError, match="stress needs a cell"):
        Deformation(POS, ONE, 1, stress=True)
