"""Hooks and adapters act on every path: what is watched or replaced is called."""

import pytest
import torch
from ase.build import molecule
from torch import nn

from molflt.data.molecule import atoms_to_graph
from molflt.encoder import FLTEncoder
from molflt.model import FLTModel
from molflt.nn.near.paths import COSTS
from molflt.nn.plain import is_plain
from molflt.targets import TargetSpec

PATHS = ("dense", "linear", "streamed")


class Adapted(nn.Module):
    """A map with another one beside it, as LoRA has it."""

    def __init__(self, base):
        super().__init__()
        self.base, self.more = base, nn.Linear(base.in_features, base.out_features)

    def forward(self, x):
        return self.base(x) + self.more(x)


def make_model():
    torch.manual_seed(0)
    encoder = FLTEncoder(
        **{"width": 16, "num_layers": 2, "num_near_heads": 2, "num_far_heads": 0},
        vector_width=8,
    )
    return FLTModel(encoder, [TargetSpec("energy")]).double().eval()


def energies(model, monkeypatch):
    graph = atoms_to_graph(molecule("CH3CH2OH"))
    found = {}
    for path in PATHS:
        with monkeypatch.context() as patch:
            if path == "streamed":
                patch.setattr(COSTS, "stream_edges", 0)
            way = "dense" if path == "dense" else "linear"
            found[path] = model.normalised(graph, way)["energy"].detach().item()
    return found


def hooked(model, name):
    module = model.encoder.get_submodule(name)
    module.register_forward_hook(lambda _, __, out: 0.5 * out)


def adapted(model, name):
    parent, _, last = name.rpartition(".")
    module = model.encoder.get_submodule(name)
    setattr(model.encoder.get_submodule(parent), last, Adapted(module).double())


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (hooked, "embedding.filter"),
        (adapted, "embedding.filter"),
        (hooked, "layers.1.attention.heads.vector_in"),
        (adapted, "layers.1.attention.heads.vector_in"),
        (hooked, "layers.1.attention.heads.near.project"),
    ],
)
def test_what_is_changed_is_changed_on_every_path(change, name, monkeypatch):
    model = make_model()
    before = energies(model, monkeypatch)
    change(model, name)
    after = energies(model, monkeypatch)
    assert abs(after["dense"] - before["dense"]) > 1e-8
    for path in PATHS:
        assert before[path] == pytest.approx(before["dense"], abs=1e-10)
        assert after[path] == pytest.approx(after["dense"], abs=1e-10)


def test_hooks_fire_as_often_on_every_path(monkeypatch):
    model, counts = make_model(), {}
    for name, module in model.encoder.layers[0].attention.named_modules():

        def count(*_, name=name):
            counts[name] = counts.get(name, 0) + 1

        module.register_forward_hook(count)
    energies(model, monkeypatch)
    for name in ("", "heads", "heads.near", "heads.near.kernel", "heads.vector_in"):
        assert counts[name] == len(PATHS), name


def test_maps_of_torch_are_plain():
    plain = nn.Linear(3, 3)
    assert is_plain(plain, None)
    assert is_plain(nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3)))
    assert not is_plain(plain, Adapted(plain))
    plain.register_forward_pre_hook(lambda *_: None)
    assert not is_plain(plain)
