"""What the encoder takes, and what it refuses."""

import pytest
import torch
from torch_geometric.data import Batch

from tests.builders import energy_model, energy_of, molecules, narrow_slab, salt


def test_encoder_takes_tensors_or_a_batch():
    encoder = energy_model({}).encoder
    batch = Batch.from_data_list([narrow_slab(), salt()])
    whole = encoder(batch)
    parts = encoder(
        batch.z,
        batch.pos,
        batch.batch,
        cell=batch.cell,
        pbc=batch.pbc,
        tags=batch.tags,
    )
    for one, two in zip(whole, parts, strict=True):
        assert torch.equal(one, two)
    water = molecules()[1]
    assert torch.equal(encoder(water)[0], encoder(water.z, water.pos)[0])


def test_tensors_of_other_shapes_are_refused_or_understood():
    encoder, slab = energy_model({}).encoder, narrow_slab()
    fields = {"cell": slab.cell, "pbc": slab.pbc}
    expected = encoder(slab.z, slab.pos, **fields)[0]
    found = encoder(slab.z.int(), slab.pos, **fields)[0]
    assert torch.equal(found, expected)
    for name in fields:
        wrong = fields | {name: fields[name][0]}
        # Types are checked first, in tests.
        with pytest.raises((ValueError, TypeError), match=name):
            encoder(slab.z, slab.pos, **wrong)
    batch = torch.arange(len(slab.z)) % 2
    with pytest.raises(ValueError, match="ascending"):
        encoder(slab.z, slab.pos, batch)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_near_heads": 0, "num_far_heads": 0}, "at least one"),
        ({"far_min_width": 0.2}, "min_width"),
        ({"cutoff": -1.0}, "cutoff"),
        ({"cutoff": 1e9}, "at most 10000 Å"),
        ({"cutoff": float("nan")}, "cutoff"),
        ({"width": 0}, "width must be at least 1, received 0"),
        ({"num_layers": 0}, "num_layers"),
        ({"num_near_heads": -2}, "num_near_heads"),
        ({"head_width": 0}, "head_width"),
        ({"vector_width": -1}, "vector_width"),
        ({"expansion": 0.0}, "expansion"),
        ({"vector_head_width": 0, "matrix_head_width": 2}, "vector_head_width"),
        ({"vector_head_width": 0, "num_far_heads": 0}, "vector_head_width"),
        ({"spectrum": "free"}, "spectrum: free is an option of form 'additive'"),
        ({"num_features": 32}, "num_features"),
    ],
)
def test_contradictory_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        energy_of(energy_model(options))(molecules()[1])


@pytest.mark.parametrize("option", ["spectrum", "estimator", "sampling"])
def test_unknown_choices_are_refused(option):
    with pytest.raises((ValueError, TypeError), match=option):
        energy_model({"form": "additive", option: "nonsense"})


def test_an_unknown_path_is_refused():
    with pytest.raises((ValueError, TypeError), match="path"):
        energy_model({})(molecules()[1], path="Dense")
