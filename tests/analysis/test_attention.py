import numpy as np
import pytest
import torch
from ase.build import molecule
from torch_geometric.data import Batch

from molflt.analysis import (
    attention_row_blocks,
    attention_rows,
    energy_contributions,
    head_kernels,
    rotation_errors,
    species_map,
)
from molflt.errors import InputError, UsageError
from molflt.nn.additive import AdditiveAttention
from molflt.targets import TargetSpec

from .conftest import build_model, molecule_graph, slab_graph

FORMS = {
    "masked": {},
    "scalar": {"vector_width": 0},
    "near only": {"num_far_heads": 0},
    "far only": {"num_near_heads": 0},
    "additive": {"form": "additive"},
    "favor": {"form": "additive", "estimator": "favor", "num_frequencies": 8},
    "free": {"form": "additive", "spectrum": "free"},
}
PERIODIC = ("masked", "scalar", "near only", "far only", "additive")


def scalar_messages(model, graph):
    """What each layer's attention made of the graph: inputs, geometry and messages."""
    kept = []

    def keep(module, args, output):
        x, vec, geometry, _ = args
        heads = module.heads
        if isinstance(heads, AdditiveAttention):
            value = heads.split(x)[2]
            kept.append([(value, output[0], heads.mix)])
            return
        groups = []
        if heads.near is not None:
            out = heads.near(x, vec, heads.vector_in, geometry, "dense")[0]
            values = heads.near.project.split(x)[2]
            groups.append((values, out, torch.nn.Identity()))
        if heads.far is not None:
            out = heads.far(x, geometry, "dense")[0]
            groups.append((heads.far.project.split(x)[2], out, torch.nn.Identity()))
        kept.append(groups)

    layers = model.encoder.layers
    hooks = [layer.attention.register_forward_hook(keep) for layer in layers]
    with torch.no_grad():
        model(graph)
    for hook in hooks:
        hook.remove()
    return kept


def assert_rows_give_messages(model, graph, atoms):
    messages = scalar_messages(model, graph)
    for rows, groups in zip(attention_rows(model, graph, atoms), messages, strict=True):
        first = 0
        for values, expected, mix in groups:
            h = values.shape[1]
            weights = torch.from_numpy(rows.weights[first : first + h])
            first += h
            read = torch.einsum("hij,jhd->ihd", weights, values).flatten(1)
            torch.testing.assert_close(
                mix(read), expected[torch.as_tensor(atoms)], rtol=1e-7, atol=1e-9
            )
        assert first == len(rows.heads)


@pytest.mark.parametrize("form", FORMS)
def test_rows_give_the_messages_of_a_molecule(form):
    assert_rows_give_messages(build_model(**FORMS[form]), molecule_graph(), [0, 2, 8])


@pytest.mark.parametrize("form", PERIODIC)
def test_rows_give_the_messages_of_a_slab(form):
    assert_rows_give_messages(build_model(**FORMS[form]), slab_graph(), [1, 4, 5])


@pytest.mark.parametrize("options", [{}, {"num_far_heads": 0}])
def test_rows_of_the_linear_path(options):
    """A large graph takes the linear paths; its rows are the same function."""
    model, graph = build_model(**options), slab_graph()
    model.encoder.forward = lambda data, forward=model.encoder.forward: forward(
        data, path="linear"
    )
    linear = attention_rows(model, graph, [4])
    dense = attention_rows(build_model(**options), graph, [4])
    for one, two in zip(linear, dense, strict=True):
        np.testing.assert_allclose(one.weights, two.weights, rtol=1e-4, atol=1e-5)


def test_rows_are_those_of_the_full_matrix(graph):
    model = build_model()
    n = len(graph.z)
    everything = attention_rows(model, graph, np.arange(n))
    some = attention_rows(model, graph, [3, 1, 3, -1], layers=[1])[0]
    np.testing.assert_array_equal(some.atoms, [3, 1, 3, n - 1])
    assert (some.layer, some.weights.shape[1:]) == (1, (4, n))
    np.testing.assert_allclose(
        some.weights, everything[1].weights[:, [3, 1, 3, n - 1]], rtol=1e-12, atol=1e-12
    )
    masked = attention_rows(model, graph, np.arange(n) == 2)[0]
    np.testing.assert_allclose(masked.weights[:, 0], everything[0].weights[:, 2])


def test_meaning_of_the_weights(graph):
    rows = attention_rows(build_model(), graph, [0])[0]
    assert rows.signed
    assert rows.heads == (*(f"near {k}" for k in range(1, 7)), "far 1", "far 2")
    assert rows.weights.min() < 0 < rows.weights.max()
    np.testing.assert_allclose(rows.shares.sum(axis=2), 1)
    assert (rows.shares >= 0).all()
    soft = attention_rows(build_model(form="additive"), graph, [0])[0]
    assert not soft.signed
    np.testing.assert_allclose(soft.weights.sum(axis=2), 1)
    np.testing.assert_allclose(soft.shares, soft.weights)


def test_an_atom_alone_has_no_shares():
    graph = molecule_graph()
    graph.pos[0] += 100.0
    rows = attention_rows(build_model(num_far_heads=0), graph, [0, 1])[0]
    assert not rows.shares[:, 0].any()
    np.testing.assert_allclose(rows.shares[:, 1].sum(axis=1), 1)


def test_an_atom_of_a_molecule_does_not_read_itself():
    """The pair j = i is left out; in a small cell an atom reads its own images."""
    rows = attention_rows(build_model(), molecule_graph(), [2])[0]
    assert not rows.weights[:, 0, 2].any()
    rows = attention_rows(build_model(), slab_graph(), [2])[0]
    assert rows.weights[:, 0, 2].all()


def test_the_model_is_left_as_it_was(graph):
    model = build_model()
    before = model(graph)["energy"]
    pos = graph.pos.clone()
    attention_rows(model, graph, [0])
    assert not any(layer.attention._forward_pre_hooks for layer in model.encoder.layers)
    assert torch.equal(model(graph)["energy"], before)
    assert torch.equal(graph.pos, pos)


def test_what_cannot_be_asked():
    model, graph = build_model(), molecule_graph()
    with pytest.raises(UsageError, match="atoms must be indices below 9"):
        attention_rows(model, graph, [9])
    with pytest.raises(UsageError, match="layers must be indices below 2"):
        attention_rows(model, graph, [0], layers=[2])
    with pytest.raises(UsageError, match="batch of 2"):
        attention_rows(model, Batch.from_data_list([graph, graph]), [0])
    with pytest.raises(UsageError, match=r"one list, received shape \(1, 2\)"):
        attention_rows(model, graph, [[0, 1]])
    with pytest.raises(UsageError, match="block must be at least 1, not 0"):
        next(attention_row_blocks(model, graph, block=0))
    with pytest.raises(UsageError, match="atoms_to_graph makes of ASE's Atoms, not At"):
        attention_rows(model, molecule("H2O"), [0])


def test_layers_by_number_mask_and_from_the_end():
    model, graph = build_model(), molecule_graph()
    for layers in (1, [1], [-1], [False, True]):
        (rows,) = attention_rows(model, graph, [0], layers)
        assert rows.layer == 1


def test_structures_outside_of_the_training_set_are_refused():
    """As by predictions: an element without training, an adsorbate without a tag."""
    model = build_model()
    model.statistics = {"energy": {"elements": [1, 6]}}
    with pytest.raises(InputError, match="has O, which the model was not trained on"):
        attention_rows(model, molecule_graph(), [0])
    between = build_model(
        targets=[TargetSpec("energy", "eV", "relaxed", interaction=True)]
    )
    with pytest.raises(InputError, match="has no tags"):
        energy_contributions(between, molecule_graph())


@pytest.mark.parametrize(
    "ask",
    [
        lambda model: attention_rows(model, molecule_graph(), [0]),
        lambda model: energy_contributions(model, molecule_graph()),
        lambda model: rotation_errors(model, molecule_graph()),
        head_kernels,
        species_map,
    ],
)
@pytest.mark.parametrize("model", ["emt-forces", [build_model(), build_model()]])
def test_what_is_no_model_is_refused(ask, model):
    with pytest.raises(UsageError, match="takes one model, which molflt.load returns"):
        ask(model)
