"""Far heads: every way of evaluation is one function, within the stated error."""

import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from molflt.errors import InputError
from molflt.nn import far_sums, reference
from molflt.nn.far import FarAttention
from molflt.nn.far_cost import FarCosts
from molflt.nn.far_sums import transformed
from molflt.nn.gradients import Deformation
from molflt.nn.shells import RadialShells

from .conftest import (
    assert_same_gradients,
    inputs_of,
    make_geometry,
    open_structures,
    per_graph,
    periodic_structures,
)

WAVES, NUFFT = FarCosts(node=math.inf), FarCosts(wave=math.inf)
SMALL_GRID = (0.4, 0.07)  # band and least width, for tests of many transforms
LINEAR = pytest.mark.parametrize("costs", [WAVES, NUFFT], ids=["waves", "nufft"])
EVERY = pytest.mark.parametrize(
    ("path", "costs"),
    [("dense", None), ("linear", WAVES), ("linear", NUFFT)],
    ids=["dense", "waves", "nufft"],
)


def far(vectors=True, tolerance=1e-7, costs=None, band=0.8, min_width=0.12):
    # Narrow in real space, so that the brute-force sum over images stays small.
    shells = RadialShells(4, band=band, min_width=min_width)
    return FarAttention(8, 2, 3, 2, shells, vectors, tolerance, costs)


def features(n):
    return torch.randn(n, 8, requires_grad=True)


def compare(structures, path, module, tolerance):
    """Values and gradients of a path against the sum over all pairs and images."""
    pos = make_geometry(structures)[1].requires_grad_(True)
    geometry, _ = make_geometry(structures, pos=pos)
    x = features(len(pos))
    fast = module(x, geometry, path)
    slow = per_graph(
        geometry,
        pos,
        structures,
        lambda mine, places, images: reference.far_attention(
            module, x[mine], places, images
        ),
    )
    for one, two in zip(fast, slow, strict=True):
        if one is not None:
            scale = max(float(two.detach().abs().max()), 1.0)
            torch.testing.assert_close(one, two, rtol=0, atol=tolerance * scale)
    scaled = max(tolerance * 100, 1e-9)
    inputs = inputs_of(module, x, pos)
    assert_same_gradients(fast, slow, inputs, rtol=scaled, atol=scaled)


@pytest.mark.parametrize("vectors", [True, False])
def test_dense_path_equals_slow_twin_on_open_systems(vectors):
    compare(open_structures(), "dense", far(vectors), 1e-10)


@LINEAR
@pytest.mark.parametrize("vectors", [True, False])
def test_linear_path_equals_slow_twin_on_open_systems(vectors, costs):
    compare(open_structures(), "linear", far(vectors, 1e-7, costs), 1e-7)


@EVERY
def test_paths_equal_the_sum_over_images(path, costs):
    compare(periodic_structures(), path, far(True, 1e-7, costs), 1e-6)


def test_dense_and_waves_agree_to_rounding_on_a_lattice():
    geometry, pos = make_geometry(periodic_structures())
    module, x = far(costs=WAVES), features(len(pos))
    for one, two in zip(
        module(x, geometry, "dense"), module(x, geometry, "linear"), strict=True
    ):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-12)


def test_transforms_and_their_twin_are_one_function():
    geometry, pos = make_geometry(periodic_structures())
    module, x = far(), features(len(pos))
    lattice = geometry.lattice(module.mixture.shells, 1e-4)
    split = module.project.split(x)
    fast, slow = (
        transformed(module.mixture, lattice, geometry, split, 1e-12, True, engine)
        for engine in ("fast", "waves")
    )
    for one, two in zip(fast, slow, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-10)


def norms(module, x, geometry):
    """Return sum_t |w_t| sum_j |phi(q_i).phi(k_j)| |v_j| of scalars and vectors."""
    q, k, *values = module.project.split(x)
    same = geometry.batch[:, None] == geometry.batch
    pairs = torch.einsum("ihe,jhe->hij", q, k) * same
    heads = module.num_heads
    weights = module.mixture.weights.abs().sum(1)
    return [
        torch.einsum("h,hij,jhd->ihd", weights[part], pairs, v.abs()).flatten(1)
        for part, v in zip((slice(heads), slice(heads, None)), values, strict=True)
    ]


def relative_errors(module, x, geometry, exact):
    """Return the largest error of scalars and of vectors over its norm."""
    with torch.no_grad():
        scalars, vectors = module(x, geometry, "linear")
        by_scalars, by_vectors = norms(module, x, geometry)
        return (
            float(((scalars - exact[0]).abs() / by_scalars).max()),
            float(((vectors - exact[1]).abs() / by_vectors[:, None]).max()),
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


def energy(module, x, geometry, path):
    generator = torch.Generator().manual_seed(1)
    parts = module(x, geometry, path)
    return sum((y * torch.randn(y.shape, generator=generator)).sum() for y in parts)


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


@pytest.mark.parametrize(
    ("costs", "kept"), [(WAVES, 0), (NUFFT, 0), (NUFFT, far_sums.KEPT)]
)
def test_forces_have_second_derivatives(costs, kept, monkeypatch):
    """Also where a backward pass sums anew what it did not keep."""
    monkeypatch.setattr(far_sums, "KEPT", kept)
    structure = bulk("NaCl", "rocksalt", 5.6)
    module = far(True, 1e-10, costs, *SMALL_GRID)
    pos = torch.tensor(structure.positions)
    pos[0] += torch.tensor([0.1, 0.2, 0.3])
    inputs = (pos.requires_grad_(True), features(2))

    def run(pos, x):
        geometry, _ = make_geometry([structure], pos=pos)
        return energy(module, x, geometry, "linear")

    assert torch.autograd.gradgradcheck(run, inputs, atol=1e-6, fast_mode=True)


def test_channels_in_chunks_are_the_same_sums(monkeypatch):
    geometry, pos = make_geometry(periodic_structures())
    module, x = far(costs=NUFFT), features(len(pos))
    whole = module(x, geometry, "linear")
    monkeypatch.setattr(far_sums, "CHUNK", 1)
    monkeypatch.setattr(far_sums, "KEPT", 0)
    parts = module(x, geometry, "linear")
    assert_same_gradients(whole, parts, [x, *module.parameters()])
    for one, two in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("costs", [None, WAVES, NUFFT])
def test_padded_slots_have_no_part_in_sums(costs):
    geometry, pos = make_geometry([*periodic_structures(), *open_structures()])
    module, x = far(costs=costs), features(len(pos))
    path = "dense" if costs is None else "linear"
    padded = geometry.in_slots()
    wide = torch.randn(len(padded.slot), 8).index_copy(0, geometry.slot, x)
    for one, two in zip(
        module(x, geometry, path), module(wide, padded, path), strict=True
    ):
        torch.testing.assert_close(one, two[geometry.slot], rtol=1e-6, atol=1e-6)


def test_a_box_smaller_than_the_reach_aliases(monkeypatch):
    """Negative test: images inside the reach of f spoil the Fourier path."""
    geometry, pos = make_geometry(open_structures())
    module = far(False, costs=WAVES)
    with torch.no_grad():
        module.mixture.coefficients.fill_(1.0)
    x = features(len(pos))
    exact = module(x, geometry, "dense")[0]
    monkeypatch.setattr(RadialShells, "support", lambda self, tolerance: (1.0, 1.0))
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
        monkeypatch.setattr(RadialShells, "support", lambda *_, less=less: less)
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


@pytest.mark.parametrize("periodic", [True, False])
def test_costs_choose_and_both_sides_of_a_boundary_agree(periodic):
    """Dense below a size, transforms above; the values do not jump there."""
    module = far(True, 1e-6, FarCosts(wave=math.inf), band=0.3, min_width=0.05)
    sizes = [3, 12, 48, 96, 192]
    systems = []
    for size in sizes:
        atoms = bulk("Cu", cubic=True) * (2, 4, size)
        atoms.pbc = periodic
        systems.append(make_geometry([atoms], cutoff=1.5))
    ways = [module.way(geometry) for geometry, _ in systems]
    assert ways[0] == "dense"
    assert ways[-1] == "nufft"
    boundary = ways.index("nufft")
    assert set(ways[boundary:]) == {"nufft"}
    geometry, pos = make_geometry([bulk("Cu", cubic=True) * (2, 4, 3)], cutoff=1.5)
    x = features(len(pos))
    rows = [[y.detach() for y in module(x, geometry, "dense")]]
    for costs in (FarCosts(wave=math.inf, transform=0.0, node=0.0), WAVES):
        module.costs = costs
        errors = relative_errors(module, x, geometry, rows[0])
        assert max(errors) < 1e-6


@pytest.mark.parametrize("path", ["dense", "linear"])
def test_cost_overrides_decide(path):
    geometry, _ = make_geometry(open_structures())
    assert far(costs=NUFFT).way(geometry, "linear") == "nufft"
    assert far(costs=WAVES).way(geometry, "linear") == "waves"
    assert far(costs=NUFFT).way(geometry, "dense") == "dense"
    assert far(costs=NUFFT).way(geometry, "auto") == "dense"  # small and open


def test_grids_beyond_memory_are_refused(monkeypatch):
    geometry, pos = make_geometry(open_structures())
    monkeypatch.setattr("molflt.nn.lattice.MAX_GRID", 100)
    with pytest.raises(InputError, match="far_band"):
        far(costs=NUFFT)(features(len(pos)), geometry, "linear")


def test_without_finufft_waves_are_taken_while_they_fit(monkeypatch):
    monkeypatch.setattr("molflt.nn.nufft.find_spec", lambda name: None)
    geometry, pos = make_geometry(open_structures())
    module = far(costs=FarCosts(node=1e-30, frequency=0.0, transform=0.0))
    assert module.way(geometry, "linear") == "waves"
    monkeypatch.setattr("molflt.nn.far_cost.MAX_PHASES", 10)
    with pytest.raises(InputError, match="pip install finufft"):
        module(features(len(pos)), geometry, "linear")


@pytest.mark.parametrize("tolerance", [0.0, 1.0, -1e-3])
def test_tolerances_out_of_range_are_refused(tolerance):
    with pytest.raises(ValueError, match="tolerance"):
        far(tolerance=tolerance)


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
