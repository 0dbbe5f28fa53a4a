"""The laws of design: every form and option of the encoder obeys them."""

import numpy as np
import pytest
import torch
from ase.build import bulk
from torch_geometric.data import Batch

from molflt import testing as laws
from molflt.data.molecule import atoms_to_graph
from tests.builders import at, energy_model, energy_of, molecules, narrow_slab, salt

# Random projections and elements that are not told apart are as good as others here.
pytestmark = pytest.mark.filterwarnings("ignore:(The d|D)ensity features")

FORMS = {
    "masked": {},
    "near only": {"num_far_heads": 0},
    "far only": {"num_near_heads": 0},
    "matrices": {"matrix_head_width": 2},
    "density": {"density_elements": "HCO", "density_components": 5},
    "scalar": {"vector_width": 0},
    "additive": {"form": "additive"},
}
OPEN_FORMS = FORMS | {
    "favor": {"form": "additive", "estimator": "favor", "num_frequencies": 8},
    "free": {"form": "additive", "spectrum": "free"},
    "laplace": {"form": "additive", "spectrum": "laplace"},
    "box": {"form": "additive", "spectrum": "box"},
}


SPECTRAL = ("shells", "mixture", "spectrum")


@pytest.mark.parametrize("options", OPEN_FORMS.values(), ids=OPEN_FORMS)
class TestOpenSystems:
    def test_numbering_does_not_matter(self, options):
        laws.assert_permutation_invariant(
            energy_of(energy_model(options)), molecules()[0]
        )

    def test_batch_equals_its_molecules(self, options):
        laws.assert_batch_equals_singles(energy_of(energy_model(options)), molecules())

    def test_no_gradient_crosses_molecules(self, options):
        laws.assert_graphs_do_not_interact(
            energy_of(energy_model(options)), molecules()
        )

    def test_translation_by_a_thousand_angstroms(self, options):
        laws.assert_translation_invariant(
            energy_of(energy_model(options)), molecules()[0]
        )

    def test_every_parameter_in_use_has_a_finite_gradient(self, options):
        model = energy_model(options)
        batch = Batch.from_data_list(molecules())
        model(batch)["energy"].square().sum().backward()
        learned = {n: p for n, p in model.named_parameters() if p.requires_grad}
        # Data-parallel training fails on a parameter that has none.
        assert [n for n, p in learned.items() if p.grad is None] == []
        assert all(torch.isfinite(p.grad).all() for p in learned.values())
        spectra = [n for n in learned if any(w in n for w in SPECTRAL)]
        assert spectra
        assert [n for n in spectra if not learned[n].grad.abs().max() > 0] == []

    def test_forces_have_second_derivatives(self, options):
        """Training on forces differentiates twice."""
        model = energy_model(options, dtype=torch.float64)
        pos = molecules()[1].pos.clone().requires_grad_(True)
        assert torch.autograd.gradgradcheck(
            lambda p: model(at(molecules()[1], p))["energy"], pos, atol=1e-6
        )

    def test_forces_by_gradcheck(self, options):
        model = energy_model(options, dtype=torch.float64)
        graph = molecules()[1]
        pos = graph.pos.clone().requires_grad_(True)
        assert torch.autograd.gradcheck(
            lambda p: model(at(graph, p))["energy"], pos, atol=1e-6, rtol=1e-4
        )


RADIAL = {k: v for k, v in OPEN_FORMS.items() if k not in ("favor", "free", "box")}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", RADIAL.values(), ids=RADIAL)
def test_rotation_and_reflection_are_exact_for_radial_spectra(options, dtype):
    rtol = 1e-5 if dtype == torch.float32 else 1e-11
    laws.assert_rotation_invariant(
        energy_of(energy_model(options, dtype=dtype)), molecules()[0], rtol
    )


@pytest.mark.parametrize("kind", ["favor", "free", "box"])
def test_rotation_error_of_free_spectra_is_reported(kind):
    error = laws.rotation_error(
        energy_of(energy_model(OPEN_FORMS[kind])), molecules()[0]
    )
    assert error > 1e-5  # they do depend on orientation: that is why it is reported
    assert np.isfinite(error)


@pytest.mark.parametrize("graph", [molecules()[0], narrow_slab(), salt()])
def test_paths_are_one_function(graph):
    model = energy_model({}, dtype=torch.float64)
    dense, linear = energy_of(model, "dense")(graph), energy_of(model, "linear")(graph)
    torch.testing.assert_close(dense, linear, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("path", ["dense", "linear"])
@pytest.mark.parametrize("graph", [narrow_slab(), salt()], ids=["slab", "crystal"])
@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
class TestPeriodicSystems:
    # A slab's open direction is padded: exact to the far heads' tolerance there.
    def rtol(self, graph, options):
        exact = bool(graph.pbc.all()) or options.get("num_far_heads") == 0
        return 1e-8 if exact else 1e-4

    def test_wrapping(self, options, graph, path):
        energy = energy_of(energy_model(options, dtype=torch.float64), path)
        laws.assert_wrapping_invariant(energy, graph, rtol=self.rtol(graph, options))

    def test_forces_by_gradcheck(self, options, graph, path):
        model = energy_model({**options, "num_layers": 1}, dtype=torch.float64)
        few = graph.clone()
        keep = torch.arange(3)
        few.z, few.pos, few.tags = few.z[keep], few.pos[keep], few.tags[keep]
        pos = few.pos.clone().requires_grad_(True)
        # An open direction is padded to the extent of the atoms, so its box moves with
        # them: the derivative is that of the function up to the tolerance of the path.
        tolerance = 1e-6 if graph.pbc.all() else 1e-4
        assert torch.autograd.gradcheck(
            lambda p: model(at(few, p), path)["energy"], pos, atol=tolerance, rtol=1e-4
        )

    def test_translation(self, options, graph, path):
        energy = energy_of(energy_model(options, dtype=torch.float64), path)
        laws.assert_translation_invariant(energy, graph, rtol=1e-8)

    def test_another_cell_of_the_same_lattice(self, options, graph, path):
        energy = energy_of(energy_model(options, dtype=torch.float64), path)
        rtol = self.rtol(graph, options)
        laws.assert_cell_choice_invariant(energy, graph, rtol=rtol)

    @pytest.mark.parametrize("extensive", [True, False])
    def test_supercell(self, options, graph, path, extensive):
        model = energy_model(options, extensive=extensive, dtype=torch.float64)
        arguments = energy_of(model, path), graph, extensive
        if options.get("form") == "additive":
            # Negative: exp(sum over images) is no sum over the supercell's keys.
            with pytest.raises(AssertionError, match="supercell"):
                laws.assert_supercell_law(*arguments, rtol=1e-4)
        else:
            laws.assert_supercell_law(*arguments, rtol=self.rtol(graph, options))

    def test_rotation(self, options, graph, path):
        energy = energy_of(energy_model(options, dtype=torch.float64), path)
        rtol = max(self.rtol(graph, options), 1e-8)
        laws.assert_rotation_invariant(energy, graph, rtol=rtol, num_rotations=2)


def test_mixed_batch_of_open_and_periodic_graphs():
    graphs = [molecules()[1], narrow_slab(), salt()]
    laws.assert_batch_equals_singles(
        energy_of(energy_model({}, dtype=torch.float64)), graphs, 1e-5
    )


def test_offsets_keep_small_differences_of_large_energies():
    model = energy_model({})
    statistics = {
        "element_reference": {1: -13.6, 8: -2042.6113},
        "mean": 0.0,
        "std": 0.01,
    }
    model.set_statistics("energy", statistics)
    water = molecules()[1]
    with torch.no_grad():
        energy = float(model(water)["energy"])
        rest = float(model.normalised(water)["energy"])
    assert energy == pytest.approx(-2042.6113 - 27.2 + 0.01 * rest, abs=1e-9)


def test_normalise_and_physical_are_inverse():
    model = energy_model({})
    statistics = {"element_reference": {1: -13.0, 8: -2000.0}, "mean": 2.0, "std": 0.3}
    model.set_statistics("energy", statistics)
    batch = Batch.from_data_list(molecules()[1:3])
    labels = torch.tensor([-2026.5, -11.2], dtype=torch.float64)
    normalised = model.normalise("energy", labels, batch)
    back = model.physical("energy", normalised, batch)
    torch.testing.assert_close(back, labels, rtol=0, atol=1e-6)


def test_tags_change_the_energy():
    graph = narrow_slab()
    tagged = graph.clone()
    tagged.tags = torch.randint(0, 3, tagged.tags.shape)
    energy = energy_of(energy_model({}))
    assert abs(float((energy(graph) - energy(tagged)).detach())) > 1e-6


@pytest.mark.parametrize("extensive", [True, False])
def test_contributions_sum_to_the_energy(extensive):
    model = energy_model({}, extensive)
    reference = {1: -13.0, 6: -1000.0, 8: -2000.0} if extensive else {}
    statistics = {"element_reference": reference, "mean": 0.7, "std": 0.5}
    model.set_statistics("energy", statistics)
    batch = Batch.from_data_list(molecules())
    with torch.no_grad():
        parts = model.contributions(batch)["energy"]
        total = torch.zeros(4, dtype=torch.float64).index_add(0, batch.batch, parts)
        torch.testing.assert_close(total, model(batch)["energy"], rtol=0, atol=1e-5)


def test_contributions_need_no_other_tags_than_the_energy():
    """Tag 0 alone is refused by encoders that leave such atoms out, and by no other."""
    graph, model = narrow_slab(), energy_model({})
    graph.tags = torch.zeros_like(graph.tags)
    total = model.contributions(graph)["energy"].sum()
    torch.testing.assert_close(total, model(graph)["energy"][0], rtol=0, atol=1e-5)


def test_coincident_atoms_have_finite_gradients():
    model = energy_model({}, dtype=torch.float64)
    pos = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    graph = molecules()[1].clone()
    graph.z, graph.pos, graph.tags = graph.z[:2], pos, graph.tags[:2]
    (gradient,) = torch.autograd.grad(model(graph)["energy"].sum(), pos)
    assert torch.isfinite(gradient).all()


def test_a_geometry_can_be_used_again_after_an_update():
    encoder = energy_model({}).encoder
    graph = molecules()[0]
    geometry = encoder.geometry(graph)
    with torch.no_grad():
        encoder(graph, geometry=geometry)
        encoder.near_shells.width_logit.add_(1.0)
        again = encoder(graph, geometry=geometry)[0]
        fresh = encoder(graph)[0]
    assert torch.equal(again, fresh)


def test_sums_over_many_atoms_survive_mixed_precision():
    model = energy_model({})
    with torch.no_grad():
        model.readout("energy").last.bias.fill_(1.0)
        model.readout("energy").last.weight.zero_()
    many = atoms_to_graph(bulk("Cu", cubic=True) * (5, 5, 5))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        energy = float(model(many)["energy"])
    assert energy == pytest.approx(len(many.z), rel=1e-5)


@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
def test_rows_of_atoms_and_padded_slots_are_one_function(options, monkeypatch):
    """Padding all graphs to the largest changes neither values nor gradients."""
    structures = [molecules()[0], narrow_slab(), salt(), molecules()[1]]
    model = energy_model(options, dtype=torch.float64)

    def run(most):
        monkeypatch.setattr("molflt.encoder.MAX_PADDING", most)
        batch = Batch.from_data_list(structures)
        batch.pos.requires_grad_(True)
        energy = energy_of(model)(batch)
        model.zero_grad()
        energy.square().sum().backward()
        slopes = [p.grad for p in model.parameters() if p.grad is not None]
        return [energy.detach(), batch.pos.grad, *slopes]

    for ragged, padded in zip(run(0.0), run(100.0), strict=True):
        torch.testing.assert_close(ragged, padded, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32])
@pytest.mark.parametrize("batched", [False, True])
def test_atomic_numbers_may_be_of_any_whole_type(dtype, batched):
    model, graph = energy_model({}), molecules()[1]
    small = graph.clone()
    small.z = graph.z.to(dtype)
    if batched:
        graph, small = (Batch.from_data_list([g, g]) for g in (graph, small))
    for name, expected in model(graph).items():
        assert torch.equal(model(small)[name], expected)
    expected = model.energy_and_forces(graph).forces
    assert torch.equal(model.energy_and_forces(small).forces, expected)
