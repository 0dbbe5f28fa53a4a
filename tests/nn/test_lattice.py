import pytest
import torch
from ase.build import bulk

from molflt.nn import shells as module
from molflt.nn.lattice import Lattice
from molflt.nn.shells import RadialShells

from .conftest import make_geometry

CRYSTALS = [
    bulk("Cu", kind, a=float(a))
    for a in torch.arange(2.5, 12.0, 0.1)
    for kind in ("sc", "fcc")
]


def narrow_shells():
    """Shells as narrow as may be, of which one G can hold much."""
    shells = RadialShells(6, band=0.25, min_width=0.02)
    with torch.no_grad():
        shells.width_logit.fill_(-6.0)
    return shells.double()


def worst_error(shells, tolerance):
    """Largest |sum over G - the same with four times the band| of a shell."""
    errors = []
    torch.manual_seed(0)
    for crystal in CRYSTALS:
        geometry, pos = make_geometry([crystal])
        lattice = geometry.lattice(shells, tolerance)
        delta = torch.rand(5, 3) @ lattice.box[0]
        delta[0] = 0.0
        full = Lattice(pos, geometry.batch, lattice.box, 4 * lattice.band)
        sums = []
        for kept in (lattice, full):
            _, vectors, weights = kept.half()
            terms = shells.density(vectors[0].norm(dim=1)) * weights[0]  # (t, m)
            sums.append(terms @ torch.cos(2 * torch.pi * vectors[0] @ delta.T))
        errors.append((sums[0] - sums[1]).abs().max().item())
    return max(errors)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-6])
def test_what_small_cells_leave_out_is_below_the_tolerance(tolerance, monkeypatch):
    with torch.no_grad():
        shells = narrow_shells()
        assert worst_error(shells, tolerance) <= tolerance / 4
        # The band of the integrals is not enough for them.
        monkeypatch.setattr(module, "LATTICE_TAIL", 1.0)
        assert worst_error(shells, tolerance) > tolerance / 2
