import numpy as np
import pytest
import torch
from ase.build import bulk

from molflt.analysis import energy_contributions, message_attribution
from molflt.data.molecule import atoms_to_graph
from molflt.errors import UsageError
from molflt.targets import TargetSpec

from .conftest import build_model, molecule_graph, slab_graph

FORMS = {
    "masked": {},
    "matrices": {"matrix_head_width": 2},
    "density": {"density_elements": "HCOCu"},
    "scalar": {"vector_width": 0},
    "far only": {"num_near_heads": 0},
    "additive": {"form": "additive"},
    "favor": {"form": "additive", "estimator": "favor", "num_frequencies": 8},
}


def gated_terms(model, graph, layer, gate):
    """Atoms' terms with every message j -> i of one layer times gate[i, j]."""
    heads = model.encoder.layers[layer].attention.heads
    hooks, table = [], None
    if heads.near is not None:

        def multiply(module, args, out):
            pairs = args[0]
            return out * gate[pairs.receiver, pairs.sender]

        hooks.append(heads.near.kernel.register_forward_hook(multiply))
    if heads.far is not None:
        table = heads.far.table
        heads.far.table = lambda geometry: table(geometry) * gate
    try:
        return model.contributions(graph, "dense")["energy"]
    finally:
        for hook in hooks:
            hook.remove()
        if table is not None:
            del heads.far.table


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("form", ["masked", "matrices", "scalar", "far only"])
@pytest.mark.parametrize("make", [molecule_graph, slab_graph])
def test_effects_are_derivatives_by_the_messages(form, layer, make):
    """Slow twin: an n x n array of gates on the messages of all heads."""
    model, graph = build_model(**FORMS[form]), make()
    model.set_statistics("energy", {"element_reference": {}, "mean": 0.0, "std": 3.0})
    n = len(graph.z)
    gate = torch.ones(n, n, dtype=torch.float64, requires_grad=True)
    terms = gated_terms(model, graph, layer, gate)
    (whole,) = torch.autograd.grad(terms.sum(), gate, retain_graph=True)
    atoms = [n - 1, 0, 3]
    got = message_attribution(model, graph, atoms)[layer]
    assert got.effects.shape == (len(got.heads), 3, n)
    assert np.abs(got.effects).max() > 1e-6
    np.testing.assert_allclose(got.effects.sum(0), whole[atoms], rtol=1e-6, atol=1e-9)
    (own,) = torch.autograd.grad(terms[3], gate)
    got = message_attribution(model, graph, [0, 3], of="atom", layers=[layer])[0]
    np.testing.assert_allclose(got.effects.sum(0)[1], own[3], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("form", ["additive", "favor"])
def test_effects_of_normalised_attention_add_up(form):
    """Over j they sum to <dE/ds_i, s_i>, s_i all that the layer said to atom i."""
    model, graph = build_model(**FORMS[form]), molecule_graph()
    said = []
    hooks = [
        layer.attention.heads.mix.register_forward_pre_hook(
            lambda module, args: said.append(args[0])
        )
        for layer in model.encoder.layers
    ]
    energy = model(graph)["energy"]
    for hook in hooks:
        hook.remove()
    slopes = torch.autograd.grad(energy.sum(), said)
    for layer, (message, slope) in enumerate(zip(said, slopes, strict=True)):
        got = message_attribution(model, graph, [2, 5])[layer].effects.sum(axis=(0, 2))
        expected = (message * slope).sum(1).detach()[[2, 5]]
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


def test_the_last_layer_acts_through_the_receiver_alone():
    """So that both kinds of attribution agree there, and not in the layer before."""
    model, graph = build_model(), slab_graph()
    first, last = message_attribution(model, graph, [5, 2])
    own_first, own_last = message_attribution(model, graph, [5, 2], of="atom")
    np.testing.assert_allclose(last.effects, own_last.effects, rtol=1e-7, atol=1e-10)
    assert not np.allclose(first.effects, own_first.effects, rtol=1e-2)


@pytest.mark.parametrize("inside", [False, True])
def test_inference_mode_of_solids(inside):
    """Where atoms are not padded, layers keep atomic numbers for the backward pass."""
    model, graph = build_model(), atoms_to_graph(bulk("Cu", cubic=True).repeat(3))
    expected = message_attribution(model, graph, [0])[0].effects
    with torch.inference_mode():
        if inside:
            graph = atoms_to_graph(bulk("Cu", cubic=True).repeat(3))
        found = message_attribution(model, graph, [0])[0].effects
        assert energy_contributions(model, graph).forces.shape == (108, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_frozen_models_and_inference_mode():
    model, graph = build_model(), molecule_graph()
    expected = message_attribution(model, graph, [1])
    model.requires_grad_(False)
    with torch.inference_mode():
        frozen = message_attribution(model, graph, [1])
    for one, two in zip(expected, frozen, strict=True):
        np.testing.assert_allclose(one.effects, two.effects)
    for layer in model.encoder.layers:
        heads = layer.attention.heads
        assert not layer.attention._forward_pre_hooks
        assert not heads.near.kernel._forward_hooks
        assert not heads.far._forward_hooks


def test_no_atoms_and_units():
    targets = [TargetSpec("gap", unit="meV", extensive=False)]
    model, graph = build_model(targets=targets), molecule_graph()
    for of in ("total", "atom"):
        none = message_attribution(model, graph, [], of=of)[0]
        assert none.effects.shape == (8, 0, 9)
        assert (none.unit, none.of) == ("meV", of)
    with pytest.raises(UsageError, match="one of gap"):
        message_attribution(model, graph, [0], "energy")
    with pytest.raises(UsageError, match="'total' or 'atom', received 'energy'"):
        message_attribution(model, graph, [0], of="energy")


@pytest.mark.parametrize("form", sorted(set(FORMS) - {"favor"}))  # it refuses slabs
def test_effects_on_an_interaction_are_those_in_the_whole_system(form):
    """What the adsorbate's atoms say to each other by themselves is another graph."""
    spec = TargetSpec("energy", "eV", "relaxed", interaction=True)
    between = build_model(targets=(spec,), **FORMS[form])
    plain = build_model(**FORMS[form])
    plain.load_state_dict(between.state_dict())
    graph = slab_graph()
    atoms = (graph.tags == 2).nonzero().squeeze(1).numpy()
    expected = message_attribution(plain, graph, atoms, of="atom")
    for found, wanted in zip(
        message_attribution(between, graph, atoms, of="atom"), expected, strict=True
    ):
        assert np.abs(wanted.effects).max() > 1e-6
        np.testing.assert_allclose(found.effects, wanted.effects, rtol=1e-6, atol=1e-9)
