"""The laws of design where far heads are evaluated by Fourier transforms."""

import math

import pytest
import torch
from ase.build import molecule

from molflt import testing as laws
from molflt.data.molecule import atoms_to_graph
from molflt.nn.far.attention import FarAttention
from molflt.nn.far.cost import FarCosts

from .builders import at, energy_model, energy_of, molecules, narrow_slab, salt

TOLERANCE = 1e-9
# Slabs, wires and molecules: images in open directions end at the tolerance.
RTOL = 1e-7
OPTIONS = {"far_tolerance": TOLERANCE, "far_band": 0.4, "far_min_width": 0.06}


def wire():
    atoms = molecule("CH3CH2OH", vacuum=2.0)
    atoms.pbc = (False, True, False)
    return atoms_to_graph(atoms)


def by_transforms(dtype=torch.float64, **options):
    model = energy_model(OPTIONS | options, dtype=dtype)
    for module in model.modules():
        if isinstance(module, FarAttention):
            module.costs = FarCosts(wave=math.inf)
    return model


def energy(**options):
    return energy_of(by_transforms(**options), "linear")


ALL = pytest.mark.parametrize(
    "graph",
    [molecules()[1], wire(), narrow_slab(), salt()],
    ids=lambda g: str(len(g.z)),
)


@ALL
def test_numbering_and_place_do_not_matter(graph):
    laws.assert_permutation_invariant(energy(), graph, rtol=RTOL)
    laws.assert_translation_invariant(energy(), graph, rtol=RTOL)


@ALL
def test_it_is_the_function_of_the_dense_path(graph):
    model = by_transforms()
    dense, fast = energy_of(model, "dense")(graph), energy_of(model, "linear")(graph)
    torch.testing.assert_close(dense, fast, rtol=RTOL, atol=RTOL)


@pytest.mark.parametrize("graph", [wire(), narrow_slab(), salt()])
def test_wrapping(graph):
    laws.assert_wrapping_invariant(energy(), graph, rtol=RTOL)


@pytest.mark.parametrize("graph", [narrow_slab(), salt()], ids=["slab", "crystal"])
def test_lattices(graph):
    laws.assert_cell_choice_invariant(energy(), graph, rtol=RTOL)
    laws.assert_rotation_invariant(energy(), graph, rtol=RTOL, num_rotations=2)


def test_supercell():
    model = by_transforms()
    laws.assert_supercell_law(energy_of(model, "linear"), salt(), True, rtol=RTOL)


def test_graphs_of_a_batch_do_not_meet():
    graphs = [molecules()[1], narrow_slab(), salt()]
    laws.assert_batch_equals_singles(energy(), graphs, RTOL)
    laws.assert_graphs_do_not_interact(energy(num_layers=1), graphs)


def test_forces_are_the_gradient():
    graph = salt()
    model = by_transforms(num_layers=1, vector_width=8)
    run = energy_of(model, "linear")
    pos = graph.pos.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(run(at(graph, pos)).sum(), pos)
    laws.assert_forces_are_the_gradient(run, -slope, graph, atol=1e-6)


def test_forces_can_be_trained_on():
    """Derivatives of the forces by the parameters are those of the dense path."""
    graph = narrow_slab()
    rows = []
    for path in ("dense", "linear"):
        model = by_transforms(num_layers=1)
        pos = graph.pos.clone().requires_grad_(True)
        total = energy_of(model, path)(at(graph, pos)).sum()
        (slope,) = torch.autograd.grad(total, pos, create_graph=True)
        slope.square().sum().backward()
        rows.append(
            {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        )
    assert rows[0].keys() == rows[1].keys()
    for name, gradient in rows[0].items():
        scale = float(gradient.abs().max()) + 1.0
        torch.testing.assert_close(rows[1][name], gradient, rtol=0, atol=RTOL * scale)


def test_the_default_tolerance_holds_in_float32():
    options = OPTIONS | {"far_tolerance": 1e-4}
    exact = energy_of(energy_model(options, dtype=torch.float64), "dense")(
        molecules()[0]
    )
    model = by_transforms(torch.float32, **options)
    fast = energy_of(model, "linear")(molecules()[0])
    scale = float(exact.detach().abs().max())
    torch.testing.assert_close(fast, exact, rtol=0, atol=1e-3 * max(scale, 1.0))
