"""Readouts on features given by hand: formulas, invariance, gradients."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import molecule
from scipy.stats import ortho_group
from torch import nn

from molflt.errors import InputError, UsageError
from molflt.graph.moments import MASSES, squared_radii
from molflt.nn.readout.attention import AttentionReadout
from molflt.nn.readout.base import AtomReadout, Sites
from molflt.nn.readout.dipole import DipoleReadout
from molflt.nn.readout.equivariant_head import EquivariantHead
from molflt.nn.readout.extent import ExtentReadout
from molflt.nn.readout.polarisability import PolarisabilityReadout
from molflt.nn.readout.tags import TagReadout

WIDTH = 8
READOUTS = {
    "sum": lambda vectors: AtomReadout(WIDTH, True),
    "mean": lambda vectors: AtomReadout(WIDTH, False),
    "tags": lambda vectors: TagReadout(WIDTH, True),
    "attention": lambda vectors: AttentionReadout(WIDTH),
    "dipole": lambda vectors: DipoleReadout(WIDTH, WIDTH * vectors),
    "extent": lambda vectors: ExtentReadout(WIDTH, WIDTH * vectors),
    "polarisability": lambda vectors: PolarisabilityReadout(WIDTH, WIDTH * vectors),
}
MOLECULES = ("CH3CH2OH", "H2O", "H", "C6H6")
all_readouts = pytest.mark.parametrize("make", READOUTS.values(), ids=READOUTS)
with_and_without = pytest.mark.parametrize("vectors", [True, False])


class Given(nn.Module):
    """A head whose outputs are given."""

    def __init__(self, scalars, vectors):
        super().__init__()
        self.outputs = scalars, vectors

    def forward(self, x, vec):
        return self.outputs


def sites_of(names=MOLECULES):
    structures = [molecule(name) for name in names]
    sizes = torch.tensor([len(atoms) for atoms in structures])
    return Sites(
        torch.from_numpy(np.concatenate([atoms.numbers for atoms in structures])),
        torch.from_numpy(np.concatenate([atoms.positions for atoms in structures])),
        torch.repeat_interleave(torch.arange(len(sizes)), sizes),
        len(sizes),
    )


def features(sites, dtype=torch.float64):
    n = len(sites.z)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, WIDTH, generator=generator, dtype=torch.float64)
    vec = torch.randn(n, 3, WIDTH, generator=generator, dtype=torch.float64)
    return x.to(dtype), vec.to(dtype)


def moved(sites, pos):
    return Sites(sites.z, pos, sites.batch, sites.num_graphs, sites.pbc)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@with_and_without
@all_readouts
def test_turned_mirrored_and_moved_molecules_have_the_same_value(make, vectors, dtype):
    readout = make(vectors).to(dtype)
    readout.set_statistics(
        {
            "element_reference": {1: 3.5, 6: 10.5, 8: 10.2},
            "moment_reference": {1: 3.3, 6: 21.8, 8: 28.9},
            "mean": 0.5,
            "std": 2.0,
        }
    )
    sites = sites_of()
    x, vec = features(sites, dtype)
    rtol = 1e-5 if dtype == torch.float32 else 1e-9
    here, offset = readout(x, vec, sites), readout.offset(sites)
    assert here.dtype in (dtype, torch.float64)  # sums over atoms are float64
    assert offset.dtype == torch.float64
    for seed in range(3):
        matrix = ortho_group.rvs(3, random_state=seed)
        if seed == 2:
            matrix[0] *= -1  # both signs of the determinant occur
        turn = torch.from_numpy(matrix)
        there = moved(sites, sites.pos @ turn.T + torch.tensor([600.0, -480, 640]))
        turned = torch.einsum("xy,nyc->nxc", turn.to(dtype), vec)
        atol = rtol * float(here.detach().abs().max())
        torch.testing.assert_close(
            readout(x, turned, there), here, rtol=rtol, atol=atol
        )
        torch.testing.assert_close(readout.offset(there), offset, rtol=1e-9, atol=1e-7)


@with_and_without
@all_readouts
def test_a_batch_equals_its_molecules_in_any_order_of_atoms(make, vectors):
    readout, sites = make(vectors).double(), sites_of()
    x, vec = features(sites)
    together = readout(x, vec, sites)
    for graph in range(sites.num_graphs):
        index = torch.nonzero(sites.batch == graph).squeeze(1).flip(0)
        one = Sites(sites.z[index], sites.pos[index], 0 * index, 1)
        alone = readout(x[index], vec[index], one)
        torch.testing.assert_close(alone[0], together[graph])


@all_readouts
def test_gradients_are_those_of_the_value(make):
    readout, sites = make(True).double(), sites_of(["H2O", "CH3"])
    inputs = [t.requires_grad_(True) for t in (*features(sites), sites.pos.clone())]

    def value(x, vec, pos):
        there = moved(sites, pos)
        return readout(x, vec, there), readout.offset(there)

    assert torch.autograd.gradcheck(value, inputs)
    assert torch.autograd.gradgradcheck(value, inputs)


@all_readouts
def test_lone_and_coincident_atoms_have_finite_gradients(make):
    readout = make(True).float()
    pos = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    sites = Sites(torch.tensor([1, 6, 6]), pos, torch.tensor([0, 1, 1]), 2)
    x, vec = features(sites, torch.float32)
    vec = torch.zeros_like(vec).requires_grad_(True)
    total = readout(x, vec, sites).sum() + readout.offset(sites).sum()
    wanted = [pos, vec, *readout.parameters()]
    for gradient in torch.autograd.grad(total, wanted, allow_unused=True):
        assert gradient is None or torch.isfinite(gradient).all()


def test_dipole_is_the_sum_over_charges_and_atomic_dipoles():
    readout, sites = DipoleReadout(WIDTH, WIDTH), sites_of()
    generator = torch.Generator().manual_seed(3)
    n = len(sites.z)
    charge = torch.randn(n, 1, generator=generator, dtype=torch.float64)
    dipole = torch.randn(n, 3, 1, generator=generator, dtype=torch.float64)
    readout.head = Given(charge, dipole)
    found = readout(*features(sites), sites)
    vector = readout.vector(*features(sites), sites)
    torch.testing.assert_close(vector.norm(dim=1), found)
    for graph in range(sites.num_graphs):
        own = sites.batch == graph
        q = charge[own] - charge[own].mean()
        expected = (q * (sites.pos[own] + 7.0)).sum(0) + dipole[own, :, 0].sum(0)
        torch.testing.assert_close(vector[graph], expected)


def test_dipole_turns_with_the_molecule():
    readout, sites = DipoleReadout(WIDTH, WIDTH).double(), sites_of()
    x, vec = features(sites)
    turn = torch.from_numpy(ortho_group.rvs(3, random_state=4))
    there = moved(sites, sites.pos @ turn.T)
    turned = torch.einsum("xy,nyc->nxc", turn, vec)
    torch.testing.assert_close(
        readout.vector(x, turned, there), readout.vector(x, vec, sites) @ turn.T
    )


def test_dipole_at_zero_has_derivatives_to_second_order():
    readout = DipoleReadout(WIDTH, 0).double()
    sites = sites_of(["H", "CO2"])
    # Features that a centre of inversion leaves alone, so that mu = 0.
    x = torch.nn.functional.one_hot(sites.z, WIDTH + 1)[:, 1:].double()
    x.requires_grad_(True)
    pos = sites.pos.clone().requires_grad_(True)
    value = readout(x, None, moved(sites, pos))
    assert value.tolist() == pytest.approx([0, 0], abs=1e-12)
    first = torch.autograd.grad(value.sum(), (x, pos), create_graph=True)
    assert all(torch.isfinite(g).all() for g in first)
    total = sum(g.square().sum() for g in first)
    second = torch.autograd.grad(total, [x, pos, *readout.parameters()])
    assert all(torch.isfinite(g).all() for g in second)


def test_extent_is_about_the_centre_of_mass():
    readout, sites = ExtentReadout(WIDTH, True, length=1.5), sites_of()
    generator = torch.Generator().manual_seed(3)
    given = torch.randn(len(sites.z), 2, generator=generator, dtype=torch.float64)
    readout.head = Given(given, None)
    found = readout(*features(sites), sites)
    structures = [molecule(name) for name in MOLECULES]
    start = 0
    for graph, atoms in enumerate(structures):
        squares = ((atoms.positions - atoms.get_center_of_mass()) ** 2).sum(1)
        a, b = given[start : start + len(atoms)].numpy().T
        assert float(found[graph]) == pytest.approx((a * squares / 2.25 + b).sum())
        start += len(atoms)


def test_squared_radii_keep_their_digits_far_away():
    sites = sites_of()
    arguments = sites.batch, sites.num_graphs
    here = squared_radii(sites.z, sites.pos, *arguments)
    there = squared_radii(sites.z, sites.pos + 1000.0, *arguments)
    torch.testing.assert_close(here, there, rtol=1e-10, atol=1e-10)
    assert MASSES[6] == pytest.approx(12.011, abs=1e-3)


def test_polarisability_does_not_depend_on_a_common_vector():
    """Charge moved everywhere alike is a translation: it must not count."""
    readout, sites = PolarisabilityReadout(WIDTH, WIDTH), sites_of()
    n = len(sites.z)
    own = torch.arange(n, dtype=torch.float64).unsqueeze(1)
    readout.head = Given(own, torch.ones(n, 3, 1, dtype=torch.float64))
    expected = torch.zeros(4, dtype=torch.float64).index_add(0, sites.batch, own[:, 0])
    torch.testing.assert_close(readout(*features(sites), sites), expected)
    readout.head = Given(own, sites.pos.unsqueeze(2))
    places = sites.from_centroid(torch.float64).square().sum(1)
    moments = torch.zeros(4, dtype=torch.float64).index_add(0, sites.batch, places)
    torch.testing.assert_close(readout(*features(sites), sites), expected + moments)


def test_attention_starts_as_the_mean_and_learns_weights():
    attention, mean = AttentionReadout(WIDTH).double(), AtomReadout(WIDTH, False)
    mean.double().hidden.load_state_dict(attention.hidden.state_dict())
    sites = sites_of()
    x, vec = features(sites)
    with torch.no_grad():
        mean.last.weight.copy_(attention.last.weight[:1])
    value = attention(x, vec, sites)
    torch.testing.assert_close(value, mean(x, vec, sites))
    value.square().sum().backward()
    assert attention.last.weight.grad[1].abs().max() > 0
    with torch.no_grad():  # one atom wins
        attention.last.weight[1] = 1000.0 * torch.randn(WIDTH)
    terms = attention.terms(x, vec, sites)
    assert torch.isfinite(terms).all()
    assert int((terms.abs() > 1e-9).sum()) < len(sites.z) / 2


@pytest.mark.parametrize("name", ["dipole", "extent", "polarisability"])
def test_periodic_structures_are_refused_where_images_would_count(name):
    sites = sites_of(["H2O"])
    pbc = torch.tensor([[False, True, False]])
    periodic = Sites(sites.z, sites.pos, sites.batch, 1, pbc)
    x, vec = features(sites)
    with pytest.raises(InputError, match="periodic structure is not defined") as caught:
        READOUTS[name](True).double()(x, vec, periodic)
    assert "\n" not in str(caught.value)


def test_atoms_have_no_share_in_a_length():
    sites = sites_of()
    with pytest.raises(UsageError, match="no sum over atoms"):
        DipoleReadout(WIDTH, WIDTH).terms(*features(sites), sites)


def test_offsets_stay_in_float64_when_weights_do_not():
    readout = ExtentReadout(WIDTH, WIDTH).to(torch.float32).half().bfloat16()
    assert {b.dtype for b in readout.buffers()} == {torch.float64}


def test_a_readout_made_without_numbers_takes_those_of_another():
    expected = AtomReadout(WIDTH, True)
    expected.set_statistics({"element_reference": {8: -2e3}, "mean": 1.0, "std": 2.0})
    with torch.device("meta"):
        empty = AtomReadout(WIDTH, True)
    empty.to_empty(device="cpu").load_state_dict(expected.state_dict())
    found = empty.state_dict()
    for name, value in expected.state_dict().items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)


@with_and_without
def test_head_without_vector_outputs_has_no_idle_parameters(vectors):
    head = EquivariantHead(WIDTH, WIDTH * vectors, 2, 0)
    x, vec = features(sites_of(), head.last.weight.dtype)
    scalars, turning = head(x, vec if vectors else None)
    assert scalars.shape == (len(x), 2)
    assert turning is None
    scalars.square().sum().backward()
    assert all(p.grad is not None for p in head.parameters())


@pytest.mark.parametrize("extensive", [True, False])
def test_tags_weigh_apart_and_start_at_the_adsorbate(extensive):
    torch.manual_seed(0)
    plain = AtomReadout(WIDTH, extensive).double()
    tagged = TagReadout(WIDTH, extensive).double()
    tagged.load_state_dict(plain.state_dict(), strict=False)
    sites = sites_of(["CH3CH2OH", "H2O"])
    tags = torch.arange(len(sites.z)) % 4 - 1
    with_tags = replace(sites, tags=tags)
    x, vec = features(sites)
    here = plain(x, vec, sites)
    terms = plain.terms(x, vec, sites)
    counted = terms * ((tags == 2) | (tags == -1))
    expected = torch.zeros(2, dtype=torch.float64).index_add(0, sites.batch, counted)
    torch.testing.assert_close(tagged(x, vec, with_tags), expected)
    torch.testing.assert_close(tagged(x, vec, sites), here)  # no tags
    with torch.no_grad():
        tagged.tag_weight.copy_(torch.tensor([2.0, 3.0, 5.0, 7.0]))
        expected = torch.zeros(2, dtype=torch.float64)
        for tag, weight in ((-1, 2.0), (0, 3.0), (1, 5.0), (2, 7.0)):
            expected.index_add_(0, sites.batch, weight * terms * (tags == tag))
        torch.testing.assert_close(tagged(x, vec, with_tags), expected)
        torch.testing.assert_close(tagged(x, vec, sites), 2.0 * here)  # no tags


STATISTICS = {"element_reference": {8: -2e3}, "mean": 1.0, "std": 2.0}


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("no element_reference and no std; they need", {"mean": 0.0}),
        (
            "by atomic number.* not by 'O'",
            STATISTICS | {"element_reference": {"O": 1.0}},
        ),
        ("not by 500", STATISTICS | {"element_reference": {500: 1.0}}),
        ("not by -1", STATISTICS | {"element_reference": {-1: 1.0}}),
        ("std above 0, received mean 1 and std 0", STATISTICS | {"std": 0.0}),
        ("std nan", STATISTICS | {"std": float("nan")}),
        ("mean inf", STATISTICS | {"mean": float("inf")}),
    ],
)
def test_statistics_that_no_label_has_are_refused(words, wrong):
    readout = AtomReadout(WIDTH, True)
    readout.set_statistics(STATISTICS)
    before = {name: value.clone() for name, value in readout.state_dict().items()}
    with pytest.raises(InputError, match=words):
        readout.set_statistics(wrong)
    assert all(torch.equal(before[k], v) for k, v in readout.state_dict().items())


def test_atomic_numbers_may_be_words_or_those_of_numpy():
    readout = AtomReadout(WIDTH, True)
    for key in ("8", np.int64(8)):
        readout.set_statistics(STATISTICS | {"element_reference": {key: -3.0}})
        assert readout.reference.nonzero().tolist() == [[8]]
