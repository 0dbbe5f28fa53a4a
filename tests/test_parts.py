"""Systems taken apart: every atom is in one part, and is found again."""

import torch

from molflt.data.batching import collate
from molflt.parts import with_parts
from tests.test_interaction import slab


def test_every_atom_is_in_one_part():
    graphs = [slab("NH3"), slab()]
    batch = collate(graphs)
    joint, place = with_parts(batch)
    n = len(batch.z)
    assert joint.num_graphs == 6
    assert joint.batch.diff().min() >= 0
    assert sorted(place.tolist()) == list(range(n))
    for key in ("z", "pos", "tags"):
        assert torch.equal(joint[key][:n], batch[key])
        assert torch.equal(joint[key][n:][place], batch[key])
    part = joint.batch[n:][place]
    assert torch.equal(part, batch.batch + torch.where(batch.tags == 2, 2, 4))
    assert torch.equal(joint.cell, torch.cat([batch.cell] * 3))


def test_atoms_without_tags_are_slab():
    graph = slab()
    n = len(graph.z)
    del graph.tags
    joint, place = with_parts(graph)
    assert torch.equal(joint.batch, torch.tensor([0, 2]).repeat_interleave(n))
    assert torch.equal(place, torch.arange(n))
