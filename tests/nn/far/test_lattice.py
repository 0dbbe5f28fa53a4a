import pytest
import torch
from ase import Atoms
from ase.build import bulk

from molflt.nn.far.lattice import Lattice
from molflt.nn.spectra import shells as module
from molflt.nn.spectra.shells import RadialShells
from tests.nn.conftest import make_geometry

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
        errors.append(difference(shells, lattice, full, delta))
    return max(errors)


def difference(shells, one, other, delta):
    """Largest difference of the periodic sums of two lattices."""
    sums = []
    for kept in (one, other):
        _, vectors, weights = kept.half()
        terms = shells.density(vectors[0].norm(dim=1)) * weights[0]  # (t, m)
        sums.append(terms @ torch.cos(2 * torch.pi * vectors[0] @ delta.T))
    return (sums[0] - sums[1]).abs().max().item()


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-6])
def test_what_small_cells_leave_out_is_below_the_tolerance(tolerance, monkeypatch):
    with torch.no_grad():
        shells = narrow_shells()
        assert worst_error(shells, tolerance) <= tolerance / 4
        # The band of the integrals is not enough for them.
        monkeypatch.setattr(module, "LATTICE_TAIL", 1.0)
        assert worst_error(shells, tolerance) > tolerance / 2


@pytest.mark.parametrize("pbc", [(True, True, False), (True, False, False)])
@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-6])
def test_images_of_thin_layers_and_rows_are_below_the_tolerance(
    pbc, tolerance, monkeypatch
):
    """All images of a small cell along an open direction are at one distance."""
    atoms = Atoms("C", cell=[1.3, 1.3, 1.3], pbc=pbc)

    def error():
        geometry, pos = make_geometry([atoms])
        lattice = geometry.lattice(shells, tolerance)
        box = lattice.box * torch.where(torch.tensor(pbc), 1.0, 2.0).view(1, 3, 1)
        wide = Lattice(pos, geometry.batch, box, lattice.band)
        return difference(shells, lattice, wide, torch.zeros(1, 3))

    with torch.no_grad():
        shells = narrow_shells()
        shells.radius_logit.fill_(-9.0)
        assert error() <= tolerance
        monkeypatch.setattr(module, "LATTICE_TAIL", 1.0)
        assert error() > tolerance
