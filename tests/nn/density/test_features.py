"""Density features are sums over neighbours and pairs of them, and do not turn."""

import math

import pytest
import torch
from ase import Atoms
from scipy.special import eval_legendre
from scipy.stats import ortho_group
from torch_geometric.data import Data

from molflt import FLTEncoder
from molflt.density import fit_density
from molflt.nn.cutoff import PolynomialCutoff
from molflt.nn.density import features as density_features
from molflt.nn.density import neighbours as neighbour_density
from molflt.nn.density.features import DensityFeatures, element_numbers
from molflt.nn.density.neighbours import NeighbourDensity
from molflt.nn.pairs import Pairs
from tests.nn.conftest import assert_same_gradients, make_geometry

# Random projections and elements that are not told apart are as good as others here.
pytestmark = pytest.mark.filterwarnings("ignore:(The d|D)ensity features")

ELEMENTS, CUTOFF, TRIPLE_CUTOFF = "HONa", 3.0, 2.6


@pytest.fixture(params=["compiled", "torch"], autouse=True)
def form(request, monkeypatch):
    if request.param == "torch":
        monkeypatch.setattr(NeighbourDensity, "functions", lambda *_, **__: None)
    elif make().density.functions(torch.zeros(1)) is None:
        pytest.skip("no compiler")


def make(order=3, elements=ELEMENTS):
    torch.manual_seed(0)
    cutoffs = PolynomialCutoff(CUTOFF), PolynomialCutoff(TRIPLE_CUTOFF)
    return DensityFeatures(8, elements, 6, order, *cutoffs).double()


def species(structures):
    return torch.tensor([n for atoms in structures for n in atoms.numbers])


def numbers_of(module, z, geometry):
    return module.sums(*module.density(module.rows(z), geometry.pairs))


def sums_pair_by_pair(module, z, geometry):
    """What the docstring says, with Legendre polynomials of the angle."""
    pairs = geometry.pairs
    r = torch.cat([pairs.r, pairs.r])
    delta = torch.cat([pairs.delta, -pairs.delta])
    density = module.density
    single = density.single(r) * density.cutoff(r)
    triple = density.triple(r) * density.triple_cutoff(r)
    element = {number: row for row, number in enumerate(module.numbers)}
    size, count = density.triple.num_components, density.single.num_components
    channels = size * len(element)
    found = []
    for atom in range(len(z)):
        near = [
            int(e)
            for e in torch.where(pairs.receiver == atom)[0]
            if int(z[pairs.sender[e]]) in element
        ]
        kind = {e: element[int(z[pairs.sender[e]])] for e in near}
        pair = torch.zeros(len(element), count)
        square = torch.zeros(module.order + 1, channels, channels)
        for a in near:
            pair[kind[a]] += single[:, a]
            for b in near:
                cosine = float(delta[a] @ delta[b] / (r[a] * r[b]))
                reach = float(r[a] * r[b] / ((r[a] ** 2 + 1) * (r[b] ** 2 + 1)) ** 0.5)
                product = torch.outer(triple[:, a], triple[:, b])
                rows = slice(kind[a] * size, (kind[a] + 1) * size)
                columns = slice(kind[b] * size, (kind[b] + 1) * size)
                for order in range(module.order + 1):
                    angle = math.sqrt(2 * order + 1) * eval_legendre(order, cosine)
                    square[order, rows, columns] += angle * reach**order * product
        triangle = torch.triu_indices(channels, channels)
        twice = torch.where(triangle[0] == triangle[1], 1.0, math.sqrt(2))
        found.append(
            torch.cat(
                [pair.flatten(), *(twice * part[tuple(triangle)] for part in square)]
            )
        )
    return torch.stack(found)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_they_are_sums_over_pairs_of_neighbours(order, structures):
    geometry, _ = make_geometry(structures, CUTOFF)
    module, z = make(order), species(structures)
    torch.testing.assert_close(
        numbers_of(module, z, geometry),
        sums_pair_by_pair(module, z, geometry),
        rtol=1e-9,
        atol=1e-11,
    )


def test_they_do_not_turn(structures):
    module, z = make(), species(structures)
    geometry, _ = make_geometry(structures, CUTOFF)
    for seed in range(3):  # with and without reflection
        turn = ortho_group.rvs(3, random_state=seed)
        turned = [atoms.copy() for atoms in structures]
        for atoms in turned:
            atoms.set_cell(atoms.cell.array @ turn)
            atoms.positions = atoms.positions @ turn
        moved, _ = make_geometry(turned, CUTOFF)
        torch.testing.assert_close(
            module(z, moved), module(z, geometry), rtol=1e-9, atol=1e-11
        )


def test_blocks_of_atoms_give_what_all_at_once_give(structures, monkeypatch):
    module, z = make(), species(structures)
    _, pos = make_geometry(structures, CUTOFF)
    pos.requires_grad_()
    geometry, _ = make_geometry(structures, CUTOFF, pos)
    whole = (module(z, geometry),)
    monkeypatch.setattr(density_features, "MOST_AT_ONCE", 4)
    monkeypatch.setattr(neighbour_density, "BLOCK", 3)
    parts = (module(z, geometry),)
    torch.testing.assert_close(whole[0], parts[0], rtol=1e-10, atol=1e-12)
    inputs = [pos, *module.parameters()]
    assert_same_gradients(whole, parts, inputs, 1e-8, 1e-10)


@pytest.mark.parametrize("block", [4096, 4])
def test_they_differentiate_twice(structures, block, monkeypatch):
    monkeypatch.setattr(density_features, "MOST_AT_ONCE", block)
    module, z = make(order=2), species(structures)
    _, pos = make_geometry(structures, CUTOFF)
    weight = torch.randn(len(z), 8)

    def energy(moved):
        geometry, _ = make_geometry(structures, CUTOFF, moved)
        return (weight * module(z, geometry)).sum()

    start = pos.clone().requires_grad_()
    assert torch.autograd.gradcheck(energy, start, atol=1e-6)
    assert torch.autograd.gradgradcheck(energy, start, atol=1e-5)


def test_mixed_precision_does_not_touch_them(structures, form):
    module, z = make(), species(structures)
    geometry, _ = make_geometry(structures, CUTOFF)
    row = module.rows(z)
    single, density = module.density(row, geometry.pairs)
    (counts,) = module._counts(row, len(row))
    plain = module.features(row, counts, single, density)
    with torch.autocast("cpu", torch.bfloat16):
        again = module.density(row, geometry.pairs)
        mixed = module.features(row, counts, *again)
    assert torch.equal(again[0], single)
    assert torch.equal(again[1], density)
    assert torch.equal(mixed, plain)


def test_they_tell_angles_that_distances_do_not():
    """A bent and a straight molecule whose centre has the same two distances."""
    module, features = make(), []
    for angle in (180, 105):
        water = Atoms("OH2", [[0, 0, 0], [1, 0, 0], [0, 1, 0]])
        water.set_angle(1, 0, 2, angle)
        geometry, _ = make_geometry([water], cutoff=1.2)  # the hydrogens do not meet
        features.append(module(species([water]), geometry)[0])
    assert (features[0] - features[1]).abs().max() > 1e-3


def test_other_elements_are_not_seen():
    module = make(elements="HO")
    water = Atoms("OH2", [[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    more = water + Atoms("Au", [[0, 0, 1.5]])
    alone, together = (
        module(species([atoms]), make_geometry([atoms], CUTOFF)[0])
        for atoms in (water, more)
    )
    torch.testing.assert_close(together[:3], alone)
    torch.testing.assert_close(together[3], module.out.bias)


@pytest.mark.parametrize(
    ("elements", "numbers"), [("HCNOF", (1, 6, 7, 8, 9)), ("OCu", (8, 29))]
)
def test_elements_are_read_in_any_order(elements, numbers):
    assert element_numbers(elements) == numbers


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("HX", 6, 2), "symbols"),
        (("Hq", 6, 2), "symbols"),
        (("HCH", 6, 2), "twice"),
        (("HCNOFPSClBr", 6, 2), "1 to 8"),
        (("HO", 6, 4), "density_order"),
        (("HO", 6, -1), "density_order"),
        (("HO", 0, 2), "density_components"),
    ],
)
def test_options_that_cannot_be(options, named):
    cutoffs = PolynomialCutoff(CUTOFF), PolynomialCutoff(TRIPLE_CUTOFF)
    with pytest.raises(ValueError, match=named):
        DensityFeatures(8, *options, *cutoffs)


def test_float32_agrees_with_float64(structures):
    module, z = make(), species(structures)
    geometry, _ = make_geometry(structures, CUTOFF)
    pairs, row = geometry.pairs, module.rows(z)
    wide = numbers_of(module, z, geometry)
    narrow = Pairs(pairs.first, pairs.second, pairs.delta.float())
    found = module.float().sums(*module.density(row, narrow))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), wide, rtol=1e-4, atol=1e-5)


def encoder(**options):
    torch.manual_seed(0)
    small = {"width": 16, "num_layers": 1, "num_far_heads": 0, "head_width": 4}
    return FLTEncoder(**small, density_elements="HO", density_components=8, **options)


def water():
    z = torch.tensor([8, 1, 1])
    return z, torch.tensor([[0, 0, 0.1], [0, 0.8, -0.5], [0, -0.8, -0.5]]).double()


def test_states_may_be_taken_as_they_are():
    model = encoder()
    expected = model(*water())[0]
    model.load_state_dict(model.state_dict(), assign=True)
    assert torch.equal(model(*water())[0], expected)
    density = model.embedding.density
    assert density.projection.dtype == density.first[0].weight.dtype


@pytest.mark.parametrize("assign", [True, False])
def test_encoders_made_without_numbers_get_them_from_a_state(assign):
    model = encoder()
    with torch.device("meta"):
        empty = encoder()
    assert empty.embedding.density.projection.is_meta
    if not assign:
        empty = empty.to_empty(device="cpu")
    empty.load_state_dict(model.state_dict(), assign=assign)
    assert torch.equal(empty(*water())[0], model(*water())[0])


class TestWarnings:
    pytestmark = pytest.mark.filterwarnings("error")

    def test_training_without_a_fit_is_told_once(self):
        model = encoder()
        model.eval()(*water())  # nothing is trained
        with pytest.warns(UserWarning, match=r"molflt\.density\.fit_density"):
            model.train()(*water())
        model(*water())

    def test_training_after_a_fit_is_as_it_should_be(self):
        model = encoder()
        z, pos = water()
        graphs = [Data(z=z, pos=pos + 0.1 * torch.randn(3, 3)) for _ in range(8)]
        fit_density(model, graphs)
        model.train()(z, pos)

    @pytest.mark.parametrize("block", [4096, 2])
    def test_other_elements_are_told_once(self, block, monkeypatch):
        monkeypatch.setattr(density_features, "MOST_AT_ONCE", block)
        model = encoder().eval()
        z, pos = water()
        batch = torch.tensor([0, 0, 0, 1])  # which is padded, with atoms of no element
        four = torch.cat([z, z[:1]]), torch.cat([pos, pos[:1]]), batch
        model(*four)
        with pytest.warns(UserWarning, match=r"density_elements \(HO\)"):
            model(four[0].masked_fill(four[0] == 1, 6), *four[1:])
        model(four[0].masked_fill(four[0] == 1, 6), *four[1:])
