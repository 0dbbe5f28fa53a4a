"""Forces and stress are the derivatives of the energy, and can be differentiated."""

import numpy as np
import pytest
import torch
from ase.build import add_adsorbate, fcc111, molecule
from torch_geometric.data import Batch

import molflt
from molflt import testing as laws
from molflt.data.molecule import atoms_to_graph
from molflt.errors import InputError, UsageError
from molflt.model import FLTEncoder, FLTModel
from molflt.targets import TargetSpec
from tests.builders import SHORT, copper_slab, model_of_kinds, oblique_copper

SMALL = {
    "width": 8,
    "num_layers": 2,
    "num_near_heads": 2,
    "num_far_heads": 2,
    "near_components": 6,
    "head_width": 4,
    "far_head_width": 4,
    **SHORT,
}
FORMS = {
    "near and far": {},
    "near": {"num_far_heads": 0},
    "far": {"num_near_heads": 0},
    "scalar": {"vector_width": 0},
}
STD = 100.0
TARGETS = [
    TargetSpec("energy", kind="potential"),
    TargetSpec("relaxed_energy", kind="relaxed"),
    TargetSpec("gap", kind="property", extensive=False),
]


def build(options=None, dtype=torch.float64, targets=TARGETS):
    torch.manual_seed(0)
    model = FLTModel(FLTEncoder(**{**SMALL, **(options or {})}), targets).to(dtype)
    for target in targets:
        statistics = {"element_reference": {29: -1e4}, "mean": 0.0, "std": STD}
        model.set_statistics(target.name, statistics)
    return model.eval()


def water():
    return atoms_to_graph(molecule("H2O"), sid="water")


def triclinic():
    return atoms_to_graph(oblique_copper(), sid="triclinic")


def slab():
    atoms = fcc111("Cu", (1, 1, 2), vacuum=4)
    add_adsorbate(atoms, "O", 1.3, "fcc")
    atoms.rattle(0.1, seed=1)
    return atoms_to_graph(atoms, sid="slab")


SYSTEMS = {"molecule": water, "triclinic": triclinic, "slab": slab}


def learned(model, path="auto"):
    """The energy less its offset, which would cost digits of the differences."""
    return lambda data: model.normalised(data, path)["energy"] * STD


@pytest.mark.parametrize("path", ["dense", "linear"])
@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)
def test_forces_against_finite_differences(system, options, path):
    model, graph = build(options), system()

    forces = model.energy_and_forces(graph, "energy", path=path).forces
    assert forces.abs().max() > 0.02
    # In open directions the box of the Fourier sum follows the atoms: a derivative at
    # a fixed box differs by the tolerance of the sum.
    boxed = system is slab or (system is water and path == "linear")
    atol = 1e-4 if boxed and options != FORMS["near"] else 1e-7
    laws.assert_forces_are_the_gradient(learned(model, path), forces, graph, atol)


@pytest.mark.parametrize("path", ["dense", "linear"])
@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("system", [triclinic, slab], ids=["triclinic", "slab"])
def test_stress_against_finite_differences(system, options, path):
    model, graph = build(options), system()

    result = model.energy_and_forces(graph, "energy", stress=True, path=path)
    stress = result.stress[0]
    boxed = system is slab and options != FORMS["near"]
    atol = 1e-4 if boxed else 1e-6
    energy = learned(model, path)
    laws.assert_stress_is_the_strain_derivative(energy, stress, graph, atol)
    assert float(stress.abs().max() * torch.linalg.det(graph.cell[0])) > 0.05
    torch.testing.assert_close(stress, stress.T)
    without = model.energy_and_forces(graph, "energy", path=path)
    torch.testing.assert_close(result.forces, without.forces)
    assert without.stress is None


@pytest.mark.parametrize("path", ["dense", "linear"])
@pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)
def test_forces_can_be_trained_on(system, path):
    """The gradient of a loss on forces and stress, by parameters."""
    model = build()
    graphs = Batch.from_data_list([system(), slab()])
    stress = system is triclinic

    def loss(create_graph):
        out = model.energy_and_forces(
            graphs, "energy", stress=stress, create_graph=create_graph, path=path
        )
        total = out.forces.square().mean() + out.energy.sum() / STD
        return total if out.stress is None else total + 10 * out.stress.square().sum()

    value = loss(create_graph=True)
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients = torch.autograd.grad(
        value, parameters, allow_unused=True, materialize_grads=True
    )
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for _ in range(3):  # along random directions, all parameters at once
            directions = [
                torch.from_numpy(rng.normal(size=p.shape)) for p in parameters
            ]
            values = []
            for step in (1e-5, -1e-5):
                for p, d in zip(parameters, directions, strict=True):
                    p.add_(d, alpha=step)
                values.append(float(loss(create_graph=False)))
                for p, d in zip(parameters, directions, strict=True):
                    p.sub_(d, alpha=step)
            pairs = zip(gradients, directions, strict=True)
            slope = sum(float((g * d).sum()) for g, d in pairs)
            assert slope == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5)
    used = {n for n, g in zip(names, gradients, strict=True) if g.abs().max() > 0}
    assert {"encoder.near_shells.radius_logit", "encoder.far_shells.width_logit"} < used


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)
def test_second_derivatives(system):
    model, graph = build({"num_layers": 1}), system()

    def forces(pos):
        moved = graph.clone()
        moved.pos = pos
        return model.energy_and_forces(moved, "energy", create_graph=True).forces

    pos = graph.pos.clone().requires_grad_(True)
    assert torch.autograd.gradcheck(forces, pos, atol=1e-4, rtol=1e-4)


def test_batch_equals_singles_and_padding_feels_nothing():
    model = build()
    graphs = [water(), triclinic(), slab(), atoms_to_graph(molecule("H"))]
    batch = model.energy_and_forces(Batch.from_data_list(graphs), "energy")
    alone = [model.energy_and_forces(graph, "energy") for graph in graphs]
    for field in ("energy", "forces", "normalised"):
        parts = torch.cat([getattr(result, field) for result in alone])
        torch.testing.assert_close(getattr(batch, field), parts, rtol=1e-9, atol=1e-4)
    assert alone[-1].forces.abs().max() == 0
    assert batch.forces.dtype == batch.energy.dtype == torch.float64
    expected = model(Batch.from_data_list(graphs))["energy"]
    assert torch.equal(batch.energy, expected.detach())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_forces_where_gradients_are_off(mode):
    model, graphs = build(), [triclinic(), slab()]
    expected = model.energy_and_forces(Batch.from_data_list(graphs), stress=True)
    with mode():
        batch = Batch.from_data_list(graphs)  # as a loader does
        found = model.energy_and_forces(batch, stress=True)
    for one, two in zip(found, expected, strict=True):
        assert torch.equal(one, two)
        assert not one.requires_grad
    assert not batch.pos.requires_grad
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("given", ["model", "file"])
def test_what_is_loaded_in_inference_mode_has_forces_outside(given, tmp_path):
    model, path, atoms = model_of_kinds("potential"), tmp_path / "a.ckpt", copper_slab()
    molflt.save_model(model, path)
    expected = molflt.FLTCalculator(model).get_forces(atoms)
    with torch.inference_mode():
        calculator = molflt.FLTCalculator(model if given == "model" else path)
        loaded = molflt.load(path)
    assert np.array_equal(calculator.get_forces(atoms), expected)
    found = loaded.energy_and_forces(atoms_to_graph(atoms, tags="auto")).forces
    assert np.array_equal(found.numpy(), expected)


def test_float32_far_from_the_origin():
    """The positions' sixth digit is beyond float32 here; forces and stress are not."""
    graph = triclinic()
    expected = build().energy_and_forces(graph, stress=True)
    graph.pos = graph.pos + 1000.0
    found = build(dtype=torch.float32).energy_and_forces(graph, stress=True)
    for field in ("forces", "stress"):
        one, two = getattr(found, field), getattr(expected, field)
        assert (one - two).abs().max() < 1e-4 * two.abs().max()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("relaxed_energy", "'relaxed_energy' is an energy after relaxation.*no forces"),
        ("gap", "'gap' is a property.*no forces"),
    ],
)
def test_what_has_no_forces_is_refused(name, message):
    with pytest.raises(UsageError, match=message):
        build().energy_and_forces(water(), name)
    with pytest.raises(UsageError, match=r"name of one potential.*gap \(property\)"):
        build(targets=TARGETS[1:]).energy_and_forces(water())


def test_stress_needs_a_box():
    batch = Batch.from_data_list([slab(), water()])
    with pytest.raises(InputError, match="Structure water has no periodic cell"):
        build().energy_and_forces(batch, "energy", stress=True)


def test_the_laws_notice_what_is_wrong():
    model = build()
    result = model.energy_and_forces(triclinic(), stress=True, name="energy")
    wrong = {
        laws.assert_forces_are_the_gradient: (-result.forces, 1.001 * result.forces),
        laws.assert_stress_is_the_strain_derivative: (
            2 * result.stress[0],
            -result.stress[0],
        ),
    }
    for law, values in wrong.items():
        for value in values:
            with pytest.raises(AssertionError, match="not close"):
                law(learned(model), value, triclinic(), 1e-5)


@pytest.mark.parametrize("name", ["pos", "cell"])
def test_places_in_whole_numbers_have_no_derivatives(name):
    """A strain in the type of such a cell would be 0, and so would the stress."""
    graph = triclinic()
    graph[name] = graph[name].long()
    with pytest.raises(InputError, match=f"{name} must be floating-point numbers"):
        build().energy_and_forces(graph, "energy", stress=True)


def test_the_cell_may_have_another_precision_than_the_positions():
    model, graph = build(), triclinic()
    graph.cell = graph.cell.float().double()
    expected = model.energy_and_forces(graph, "energy", stress=True)
    graph.cell = graph.cell.float()
    found = model.energy_and_forces(graph, "energy", stress=True)
    torch.testing.assert_close(found.energy, expected.energy, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.stress, expected.stress, rtol=1e-6, atol=1e-9)
