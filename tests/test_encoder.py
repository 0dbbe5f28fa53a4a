"""What the encoder takes, and what it refuses."""

import pytest
import torch
from torch_geometric.data import Batch, Data

from molflt.encoder import FLTEncoder
from molflt.encoder_inputs import check_inputs
from molflt.errors import InputError
from tests.builders import energy_model, energy_of, molecules, narrow_slab, salt

from .pretend_gpu import DEVICE, PretendGPU


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


def without(graph, name):
    rest = graph.clone()
    del rest[name]
    return rest


WATER = molecules()[1]
BAD = {
    "needs positions pos": without(WATER, "pos"),
    "needs atomic numbers z": without(WATER, "z"),
    r"at least one atom, received shape \(0,\)": Data(z=WATER.z[:0], pos=WATER.pos[:0]),
    r"pos must have shape \(2, 3\), as z has 2 atoms, received \(3, 3\)": Data(
        z=WATER.z[:2], pos=WATER.pos
    ),
    r"batch must have shape \(3,\)": Data(
        z=WATER.z, pos=WATER.pos, batch=torch.zeros(2, dtype=torch.int64)
    ),
    "z of atom 1 is 150; atomic numbers are 1 to 118": Data(
        z=torch.tensor([8, 150, 1]), pos=WATER.pos
    ),
    "z of atom 0 is -1": Data(z=torch.tensor([-1, 1, 1]), pos=WATER.pos),
    "z of atom 2 is 0": Data(z=torch.tensor([1, 1, 0]), pos=WATER.pos),
    "tags of atom 2 is 3; OC20's tags are -1 to 2": Data(
        z=WATER.z, pos=WATER.pos, tags=torch.tensor([0, 1, 3])
    ),
    "tags of atom 0 is -2": Data(
        z=WATER.z, pos=WATER.pos, tags=torch.tensor([-2, 1, 2])
    ),
    "z must be whole numbers, received torch.float32": Data(
        z=WATER.z.float(), pos=WATER.pos
    ),
    "z must be whole numbers, received torch.bool": Data(
        z=WATER.z.bool(), pos=WATER.pos
    ),
    "pos must be floating-point": Data(z=WATER.z, pos=WATER.pos.long()),
    "tags must be of type torch.int64, received torch.uint8": Data(
        z=WATER.z, pos=WATER.pos, tags=torch.ones(3, dtype=torch.uint8)
    ),
    "batch must be of type torch.int64, received torch.float32": Data(
        z=WATER.z, pos=WATER.pos, batch=torch.zeros(3)
    ),
    "batch of atom 0 is -1": Data(
        z=WATER.z, pos=WATER.pos, batch=torch.tensor([-1, 0, 0])
    ),
    "batch of atom 0 is 1; graphs are numbered from 0 in order, without gaps": Data(
        z=WATER.z, pos=WATER.pos, batch=torch.ones(3, dtype=torch.int64)
    ),
    "cell must be floating-point": Data(
        z=WATER.z, pos=WATER.pos, cell=torch.eye(3).long()[None], pbc=WATER.pbc
    ),
}


@pytest.mark.parametrize("words", BAD)
def test_what_no_encoder_can_look_at_is_refused(words):
    with pytest.raises(InputError, match=words):
        energy_model({}).encoder(BAD[words])


def test_values_are_looked_at_where_nothing_waits():
    with PretendGPU() as gpu:
        graph = WATER.clone().to(DEVICE)
        gpu.waits.clear()
        check_inputs(graph)
        assert not gpu.waits


@pytest.mark.parametrize(
    "options",
    [{}, {"form": "additive"}, {"form": "additive", "estimator": "favor"}],
    ids=["masked", "softmax", "favor"],
)
def test_encoders_are_made_without_numbers(options):
    expected = energy_model(options).encoder
    with torch.device("meta"):
        empty = FLTEncoder(**expected.config)
    empty.load_state_dict(expected.state_dict(), assign=True)
    assert torch.equal(empty.eval()(WATER)[0], expected(WATER)[0])


def test_a_geometry_of_other_graphs_is_refused():
    encoder = FLTEncoder(width=8, num_layers=1, num_near_heads=1, num_far_heads=0)
    z, pos = torch.ones(5, dtype=torch.int64), torch.rand(5, 3) * 4
    geometry = encoder.geometry(Data(z=z, pos=pos))
    encoder(z, pos, geometry=geometry)
    with pytest.raises(InputError, match="There are 4 atoms, and the geometry has 5"):
        encoder(z[:4], pos[:4], geometry=geometry)
    wider = FLTEncoder(width=8, num_layers=1, num_far_heads=0, cutoff=6.0)
    with pytest.raises(ValueError, match="pairs up to 5 Å alone"):
        wider(z, pos, geometry=geometry)
