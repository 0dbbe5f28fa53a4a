"""Errors of far heads: below the tolerance, and no smaller than it must be."""

import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from molflt.nn import reference
from molflt.nn.gradients import Deformation
from molflt.nn.spectra.shells import RadialShells
from tests.nn.conftest import (
    make_geometry,
    open_structures,
    per_graph,
    periodic_structures,
)

from .far_heads import (
    LINEAR,
    NUFFT,
    SMALL_GRID,
    WAVES,
    energy,
    far,
    features,
    norms,
    relative_errors,
)


@LINEAR
@pytest.mark.parametrize("waves_across", [1, 10, 100])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-8])
def test_error_stays_below_the_tolerance(tolerance, waves_across, costs):
    """In the stated norm, for k_max * diameter from 1 to 100."""
    band = 0.5
    module = far(True, tolerance, costs, band, min_width=band / 6)
    with torch.no_grad():
        # Both ends of what may be learned: high frequency, and wide.
        module.mixture.shells.radius_logit.copy_(torch.tensor([-9.0, 0.0, 9.0, 9.0]))
        module.mixture.shells.width_logit.copy_(torch.tensor([-9.0, 0.0, -9.0, 0.0]))
    size = waves_across / band * torch.tensor([1.0, 0.1, 0.03])
    pos = torch.rand(40, 3) * size
    geometry, _ = make_geometry([Atoms("H40", pos.numpy())], pos=pos)
    x = features(40)
    exact = [part.detach() for part in module(x, geometry, "dense")]
    errors = relative_errors(module, x, geometry, exact)
    assert max(errors) < tolerance
    assert max(errors) > 1e-14  # it is another computation


@LINEAR
@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-8])
def test_error_stays_below_the_tolerance_on_lattices(tolerance, costs):
    structures = periodic_structures()
    module = far(True, tolerance, costs)
    geometry, pos = make_geometry(structures)
    x = features(len(pos))
    exact = per_graph(
        geometry,
        pos,
        structures,
        lambda mine, places, images: reference.far_attention(
            module, x[mine].detach(), places, images
        ),
    )
    assert max(relative_errors(module, x, geometry, exact)) < tolerance


def forces_and_stress(structure, x, path, module):
    """Derivatives of a random sum of the messages by atoms and strain."""
    pos = torch.tensor(structure.positions)
    cell = torch.tensor(structure.cell.array)[None]
    one = torch.zeros(len(pos), dtype=torch.int64)
    periodic = bool(structure.pbc.all())
    deformation = Deformation(pos, one, 1, cell, stress=periodic)
    geometry, _ = make_geometry([structure], pos=deformation.pos)
    geometry.cell = deformation.cell.double()
    value = energy(module, x, geometry, path)
    forces, stress = deformation.derivatives(value[None], create_graph=True)
    (second,) = torch.autograd.grad(forces.square().sum(), x)
    return [forces, second, *([stress] if periodic else [])]


@LINEAR
@pytest.mark.parametrize("kind", ["open", "crystal"])
def test_error_of_forces_stress_and_what_trains_on_them(kind, costs):
    """Measured: derivatives miss the tolerance by no more than a factor of 2 pi band.

    In units of the tolerance times the largest sum of absolute weights and values.
    """
    structure = periodic_structures()[1] if kind == "crystal" else open_structures()[0]
    x = features(len(structure))
    for tolerance in (1e-3, 1e-5, 1e-8):
        torch.manual_seed(0)
        module = far(True, tolerance, costs, *SMALL_GRID)
        torch.manual_seed(0)
        exact = far(True, 1e-12, WAVES, *SMALL_GRID)
        path = "dense" if kind == "open" else "linear"
        fine = forces_and_stress(structure, x, path, exact)
        norm = norms(module, x, make_geometry([structure])[0])[0]
        scale = float(norm.detach().sum())
        rough = forces_and_stress(structure, x, "linear", module)
        for one, two in zip(rough, fine, strict=True):
            error = (one - two).detach().abs().max()
            assert float(error) < 2 * math.pi * tolerance * scale


def test_a_box_smaller_than_the_reach_aliases(monkeypatch):
    """Negative test: images inside the reach of f spoil the Fourier path."""
    geometry, pos = make_geometry(open_structures())
    module = far(False, costs=WAVES)
    with torch.no_grad():
        module.mixture.coefficients.fill_(1.0)
    x = features(len(pos))
    exact = module(x, geometry, "dense")[0]
    monkeypatch.setattr(RadialShells, "support", lambda self, *_, **__: (1.0, 1.0))
    aliased = module(x, geometry, "linear")[0]
    assert (aliased - exact).abs().max() > 1e-2 * exact.abs().max()


def test_a_lower_band_or_reach_breaks_the_tolerance(monkeypatch):
    """Negative test: what `support` returns is needed, within a fifth."""
    geometry, pos = make_geometry(open_structures())
    module, x = far(True, 1e-8, WAVES), features(len(pos))
    exact = [part.detach() for part in module(x, geometry, "dense")]
    band, reach = module.mixture.shells.support(module.kernel_tolerance)
    assert max(relative_errors(module, x, geometry, exact)) < 1e-8
    for less in ((0.8 * band, reach), (band, 0.8 * reach)):
        monkeypatch.setattr(RadialShells, "support", lambda *_, less=less, **__: less)
        assert max(relative_errors(module, x, geometry, exact)) > 1e-8


def test_float32_reaches_the_default_tolerance():
    geometry, pos = make_geometry([bulk("Cu", cubic=True) * (4, 4, 4)])
    module = far(True, 1e-4, NUFFT, band=0.25, min_width=0.02)
    x = features(len(pos))
    module.tolerance = 1e-9
    exact = [part.detach() for part in module(x, geometry, "dense")]
    module.tolerance = 1e-4
    scalars, vectors = norms(module, x, geometry)
    geometry.dtype = torch.float32
    got = module.float()(x.float(), geometry, "linear")
    for one, two, norm in zip(got, exact, (scalars, vectors[:, None]), strict=True):
        assert one.dtype == torch.float32
        error = ((one.detach() - two).abs() / norm.detach()).max()
        assert float(error) < 1e-4


@pytest.mark.parametrize("tolerance", [1e-4, 1e-7])
def test_sums_survive_mixed_precision(tolerance):
    geometry, pos = make_geometry([bulk("Cu", cubic=True) * (4, 4, 4)])
    geometry.dtype = torch.float32
    module = far(True, tolerance, NUFFT).float()
    x = features(len(pos)).float()
    exact = module(x, geometry, "linear")
    with torch.autocast("cpu", torch.bfloat16):
        rough = module(x, geometry, "linear")
    for one, two in zip(rough, exact, strict=True):
        scale = float(two.detach().abs().max())
        assert float((one.float() - two).detach().abs().max()) < 0.02 * scale


def test_support_holds_all_but_the_tolerance():
    """The mass of each density beyond the band, by quadrature."""
    shells = RadialShells(4, band=0.8, min_width=0.1)
    for tolerance in (1e-3, 1e-6, 1e-9):
        band, reach = shells.support(tolerance)
        q = torch.linspace(band, band + 2, 20001)
        with torch.no_grad():
            beyond = torch.trapezoid(4 * math.pi * q**2 * shells.density(q), q, dim=1)
            assert 0.1 * tolerance / 4 < float(beyond.max()) <= tolerance / 4
            assert float(shells(torch.tensor([reach])).abs().max()) <= tolerance / 4
    assert np.isfinite(reach)


@pytest.mark.parametrize("tolerance", [0.0, 1.0, -1e-3])
def test_tolerances_out_of_range_are_refused(tolerance):
    with pytest.raises(ValueError, match="tolerance"):
        far(tolerance=tolerance)
