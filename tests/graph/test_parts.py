"""Adsorbates by themselves, behind their systems."""

import torch

from molflt.data.batching import collate
from molflt.graph.parts import adsorbate_atoms, behind
from molflt.graph.subsurface import part_of
from tests.builders import adsorbed


def test_adsorbates_are_there_again():
    graph = adsorbed("NH3")
    batch = collate([graph, adsorbed(), graph])
    index = adsorbate_atoms(batch)
    assert torch.equal(index, (batch.tags == 2).nonzero().squeeze(1))
    joint = behind(batch, part_of(batch, index))
    n = len(batch.z)
    assert joint.num_graphs == 6
    assert joint.batch[n:].tolist() == [3] * 4 + [4] * 2 + [5] * 4
    for key in ("z", "pos", "tags"):
        assert torch.equal(joint[key], torch.cat([batch[key], batch[key][index]]))
    assert torch.equal(joint.cell, torch.cat([batch.cell] * 2))


def test_atoms_without_tags_are_no_adsorbate():
    graph = adsorbed()
    graph.tags = torch.full_like(graph.tags, -1)
    assert len(adsorbate_atoms(graph)) == 0
    del graph.tags
    assert len(adsorbate_atoms(graph)) == 0
