"""Angular features equal a sum over pairs of neighbours, and do not turn."""

import math

import pytest
import torch
from ase import Atoms
from scipy.special import eval_legendre
from scipy.stats import ortho_group

from molflt.nn import angular_features
from molflt.nn.angular_features import AngularFeatures
from molflt.nn.cutoff import PolynomialCutoff
from molflt.nn.shells import RadialShells

from .conftest import assert_same_gradients, make_geometry

CHANNELS, CUTOFF = 3, 3.0


def make(order=3):
    torch.manual_seed(0)
    shells = RadialShells(5, 1.0, 0.02)
    return AngularFeatures(8, 40, CHANNELS, order, shells, PolynomialCutoff(CUTOFF))


def species(structures):
    return torch.tensor([n for atoms in structures for n in atoms.numbers])


def three_body_sums(module, z, geometry):
    """Sum over pairs of neighbours of each atom, as the docstring says in words."""
    pairs = geometry.pairs
    r = torch.cat([pairs.r, pairs.r])
    delta = torch.cat([pairs.delta, -pairs.delta])
    sent = module.filter((module.shells(r) * module.cutoff(r)).T)
    sent = sent.unflatten(1, (-1, CHANNELS)) * module.species(z[pairs.sender])[:, None]
    found = torch.zeros(len(z), module.order + 1, CHANNELS)
    for atom in range(len(z)):
        near = torch.where(pairs.receiver == atom)[0]
        cosine = delta[near] @ delta[near].T / torch.outer(r[near], r[near])
        reach = r[near] / (r[near].square() + 1).sqrt()
        for order, mix in enumerate(module.mix):
            factor = math.factorial(order) / math.prod(range(1, 2 * order, 2))
            angle = torch.from_numpy(eval_legendre(order, cosine.detach().numpy()))
            angle = factor * angle * torch.outer(reach, reach) ** order
            first, second = mix(sent[near, order]).chunk(2, dim=1)
            found[atom, order] = torch.einsum("jc,jk,kc->c", first, angle, second)
    found = module.gain * found.flatten(1)
    return module.out(found / (1 + found.square().mean(1, keepdim=True)).sqrt())


def test_they_are_sums_over_pairs_of_neighbours(structures):
    geometry, _ = make_geometry(structures, CUTOFF)
    module, z = make(), species(structures)
    torch.testing.assert_close(
        module(z, geometry), three_body_sums(module, z, geometry), rtol=1e-9, atol=1e-11
    )


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_torch_gives_what_compiled_loops_give(order, structures, monkeypatch):
    geometry, _ = make_geometry(structures, CUTOFF)
    module, z = make(order), species(structures)
    compiled = (module(z, geometry),)
    monkeypatch.setattr(angular_features, "filter_kernels", lambda *_: None)
    plain = (module(z, geometry),)
    torch.testing.assert_close(compiled[0], plain[0], rtol=1e-9, atol=1e-11)
    assert_same_gradients(compiled, plain, list(module.parameters()), 1e-7, 1e-9)


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


def test_they_tell_angles_that_distances_do_not():
    """A bent and a straight molecule whose centre has the same two distances."""
    module, features = make(), []
    for angle in (180, 105):
        water = Atoms("OH2", [[0, 0, 0], [1, 0, 0], [0, 1, 0]])
        water.set_angle(1, 0, 2, angle)
        geometry, _ = make_geometry([water], cutoff=1.2)  # the hydrogens do not meet
        features.append(module(species([water]), geometry)[0])
    assert (features[0] - features[1]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("options", "named"),
    [((16, 4), "angular_order"), ((16, -1), "angular_order"), ((-1, 2), "channels")],
)
def test_options_that_cannot_be(options, named):
    shells = RadialShells(5, 1.0, 0.02)
    with pytest.raises(ValueError, match=named):
        AngularFeatures(8, 20, *options, shells, PolynomialCutoff(CUTOFF))
