"""Far heads: every way of evaluation is one function."""

import pytest
import torch
from ase.build import bulk

from molflt.nn import reference
from molflt.nn.far import sums as far_sums
from molflt.nn.far.sums import transformed
from tests.nn.conftest import (
    assert_same_gradients,
    inputs_of,
    make_geometry,
    open_structures,
    per_graph,
    periodic_structures,
)

from .far_heads import EVERY, LINEAR, NUFFT, SMALL_GRID, WAVES, energy, far, features


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


@pytest.mark.parametrize("path", ["dense", "linear"])
@pytest.mark.parametrize("costs", [WAVES, NUFFT])
def test_stress_has_derivatives_by_the_strain(path, costs):
    """Elastic constants: G = 0, too, is a function of the cell."""
    structure = bulk("NaCl", "rocksalt", 5.6)
    module, x = far(True, 1e-10, costs, *SMALL_GRID), features(2).detach()
    places, box = (torch.tensor(a) for a in (structure.positions, structure.cell.array))

    def run(strain):
        turned = torch.eye(3, dtype=strain.dtype) + strain
        geometry, _ = make_geometry([structure], pos=places @ turned)
        geometry.cell = (box @ turned)[None]
        return energy(module, x, geometry, path)

    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(run, (strain,), atol=1e-6)


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
