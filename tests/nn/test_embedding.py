"""First features: the sum over neighbours equals its formula, pair by pair."""

import pytest
import torch

from molflt.nn.embedding import AtomEmbedding
from molflt.nn.spectra.shells import RadialShells

from .conftest import assert_same_gradients, make_geometry


def test_neighbour_sum_equals_its_formula(structures):
    module = AtomEmbedding(8, RadialShells(5, 1.0, 0.02), cutoff=4.0)
    geometry, _ = make_geometry(structures)
    z = torch.tensor([n for atoms in structures for n in atoms.numbers])
    tags = torch.randint(-1, 3, z.shape)
    fast = (module(z, tags, geometry),)
    pairs = geometry.pairs
    r = torch.cat([pairs.r, pairs.r])
    filters = module.filter((module.shells(r) * module.cutoff(r)).T)
    messages = filters * module.neighbour(z[pairs.sender])
    around = torch.zeros(len(z), 8).index_add(0, pairs.receiver, messages)
    first = module.species(z) + module.tag(tags + 1) + module.mix(around)
    slow = (module.norm(first),)
    torch.testing.assert_close(fast[0], slow[0], rtol=1e-10, atol=1e-12)
    assert_same_gradients(fast, slow, list(module.parameters()))


@pytest.mark.parametrize("tag", [-1, 0, 1, 2])
def test_every_tag_has_features(tag, structures):
    module = AtomEmbedding(8, RadialShells(5, 1.0, 0.02), cutoff=4.0)
    geometry, pos = make_geometry(structures)
    z = torch.ones(len(pos), dtype=torch.int64)
    out = module(z, torch.full_like(z, tag), geometry)
    assert torch.isfinite(out).all()
