"""Streamed and linear layers and embedding, compiled or not: one function.

What they are compared with is made of torch's operations on arrays of all edges.
"""

import os

import pytest
import torch
from ase.build import bulk
from torch.utils._python_dispatch import TorchDispatchMode

from molflt.nn import streaming
from molflt.nn.attention import FLTAttention
from molflt.nn.edges import rows
from molflt.nn.embedding import AtomEmbedding
from molflt.nn.layer import FLTLayer
from molflt.nn.near import paths
from molflt.nn.spectra.shells import RadialShells

from .conftest import assert_same_gradients, make_geometry, open_structures

KINDS = {
    "scalars": {"vector_width": 0, "num_far_heads": 1},
    "vectors": {"vector_width": 4, "num_far_heads": 0},
    "matrices and far heads": {
        "vector_width": 4,
        "matrix_head_width": 2,
        "num_far_heads": 1,
    },
}


@pytest.fixture(params=["compiled", "torch"])
def backend(request, monkeypatch):
    monkeypatch.setenv("MOLFLT_KERNELS", "1" if request.param == "compiled" else "0")
    if request.param == "compiled" and rows.load("rows") is None:
        pytest.skip("no C++ compiler")
    # Several blocks even in systems of a few atoms.
    monkeypatch.setattr(streaming, "block_atoms", lambda *_: 7)
    monkeypatch.setattr(rows, "TORCH_EDGES", 60)


class Network(torch.nn.Module):
    """Embedding and a layer, with what they are evaluated on."""

    def __init__(self, structures, options, near_heads=2):
        super().__init__()
        shells = RadialShells(6, 1.0, 0.02)
        attention = FLTAttention(
            8,
            num_near_heads=near_heads,
            cutoff=4.0,
            near_shells=shells,
            far_shells=RadialShells(4, 0.6, 0.1),
            head_width=3,
            vector_head_width=2,
            **options,
        )
        self.embedding = AtomEmbedding(8, shells, cutoff=4.0)
        self.layer = FLTLayer(8, attention)
        self.structures = structures
        self.z = torch.tensor([z for atoms in structures for z in atoms.numbers])
        self.pos = make_geometry(structures)[1].requires_grad_(True)
        self.vec = None
        if attention.vector_width:
            self.vec = torch.randn(len(self.z), 3, 4, requires_grad=True)

    def run(self, monkeypatch, how):
        """Evaluate: "streamed", "linear" or "arrays"."""
        limit = 0 if how == "streamed" else 10**12
        with monkeypatch.context() as patch:
            patch.setattr(paths.COSTS, "stream_edges", limit)
            patch.setattr(paths.COSTS, "dense_slot", 1e12)  # the embedding's, too
            if how == "arrays":
                patch.setenv("MOLFLT_KERNELS", "0")
            geometry, _ = make_geometry(self.structures, pos=self.pos)
            x = self.embedding(self.z, torch.zeros_like(self.z), geometry)
            return x, *self.layer(x, self.vec, geometry, "linear")

    @property
    def inputs(self):
        vectors = [] if self.vec is None else [self.vec]
        return [self.pos, *vectors, *self.parameters()]


def nodes(tensor, name):
    """How many functions of this name are in a graph."""
    found, waiting = set(), [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in found:
            found.add(node)
            waiting += [parent for parent, _ in node.next_functions]
    return [type(node).__name__ for node in found].count(name)


@pytest.mark.parametrize("near_heads", [1, 2, 3])  # some are added, to fill registers
@pytest.mark.parametrize("kind", KINDS)
def test_all_are_the_same_in_value_and_gradient(
    structures, kind, near_heads, backend, monkeypatch
):
    network = Network(structures, KINDS[kind], near_heads)
    expected = network.run(monkeypatch, "arrays")
    assert nodes(expected[1], "_StreamBackward") == 0
    assert nodes(expected[1], "_SumsBackward") == 0
    for how in ("streamed", "linear"):
        found = network.run(monkeypatch, how)
        if how == "streamed":
            assert nodes(found[1], "_StreamBackward") == 1
        else:  # of the embedding and the layer
            compiled = os.environ["MOLFLT_KERNELS"] == "1"
            assert nodes(found[1], "_SumsBackward") == 2 * compiled
        for one, two in zip(found, expected, strict=True):
            if one is not None:
                torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-11)
        assert_same_gradients(found, expected, network.inputs)


@pytest.mark.parametrize("how", ["streamed", "linear"])
@pytest.mark.parametrize("kind", KINDS)
def test_second_derivatives(structures, kind, how, backend, monkeypatch):
    """Training on forces differentiates the gradient by positions."""
    network = Network(structures, KINDS[kind])
    slopes = []
    for each in (how, "arrays"):
        out = network.run(monkeypatch, each)
        total = sum(part.square().sum() for part in out if part is not None)
        (slope,) = torch.autograd.grad(total, network.pos, create_graph=True)
        slopes.append((slope,))
    torch.testing.assert_close(slopes[0][0], slopes[1][0], rtol=1e-10, atol=1e-10)
    assert_same_gradients(*slopes, network.inputs, rtol=1e-8, atol=1e-8)


def test_third_derivatives(structures, backend, monkeypatch):
    """Whoever differentiates a loss of forces twice, as for its curvature."""
    network = Network(structures, KINDS["matrices and far heads"])
    found = []
    for how in ("linear", "arrays"):
        out = network.run(monkeypatch, how)
        value = sum(part.square().sum() for part in out if part is not None)
        for _ in range(3):
            (slope,) = torch.autograd.grad(value, network.pos, create_graph=True)
            value = slope.square().sum()
        found.append(slope.detach())
    # A spline's fourth derivative is less exact than its value.
    scale = float(found[1].abs().max())
    torch.testing.assert_close(*found, rtol=0, atol=1e-7 * scale)


@pytest.mark.parametrize("how", ["streamed", "linear"])
def test_gradient_is_that_of_finite_differences(structures, how, backend, monkeypatch):
    network = Network(structures, KINDS["matrices and far heads"])

    def energy(pos, *_):
        network.pos = pos
        return sum(part.square().sum() for part in network.run(monkeypatch, how))

    assert torch.autograd.gradcheck(energy, (network.pos,), fast_mode=True)


def test_threads_share_nothing_they_write(structures, monkeypatch):
    """Rows in blocks of one on several threads: the same numbers, gradients too."""
    network = Network(structures, KINDS["matrices and far heads"])
    torch.set_num_threads(1)
    alone = network.run(monkeypatch, "streamed")
    gradients = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        monkeypatch.setattr("molflt.nn.kernels.build.ROWS", 1)
        out = network.run(monkeypatch, "streamed")
        for one, two in zip(alone, out, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-13)
        total = sum(part.square().sum() for part in out)
        gradients.append(torch.autograd.grad(total, network.inputs, allow_unused=True))
    for one, two in zip(*gradients, strict=True):
        if one is not None:
            torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-11)


def test_float32_agrees_with_linear_to_1e_5(structures, backend, monkeypatch):
    network = Network(structures, KINDS["matrices and far heads"]).float()
    network.pos = network.pos.detach().float()
    network.vec = network.vec.detach().float()
    with torch.no_grad():
        streamed = network.run(monkeypatch, "streamed")
        linear = network.run(monkeypatch, "arrays")
    for one, two in zip(streamed, linear, strict=True):
        error = (one - two).abs().max() / two.abs().max()
        assert error < 1e-5


class Largest(TorchDispatchMode):
    """Notes the largest tensor that any operation makes."""

    size = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor) and tensor._base is None:
                self.size = max(self.size, tensor.numel())
        return out


@pytest.mark.parametrize("forces", [False, True])
def test_no_array_of_pairs_times_channels(forces, backend, monkeypatch):
    """Nothing is larger than what pairs themselves or all atoms' features take."""
    monkeypatch.setattr(streaming, "block_atoms", lambda *_: 50)
    monkeypatch.setattr(rows, "TORCH_EDGES", 500)
    crystal = bulk("NaCl", "rocksalt", 5.6) * (7, 7, 7)
    network = Network([crystal], KINDS["vectors"])
    num_pairs = 9 * len(crystal)  # 18 neighbours each, within 4 Å
    numbers = network.layer.masked.near.sizes.width * len(crystal)
    with torch.set_grad_enabled(forces), Largest() as streamed:
        out = network.run(monkeypatch, "streamed")
        if forces:
            sum(part.square().sum() for part in out).backward()
    assert num_pairs <= streamed.size <= max(3 * num_pairs, numbers)
    with torch.no_grad(), Largest() as linear:
        network.run(monkeypatch, "arrays")
    assert linear.size > 3 * streamed.size


def test_hooks_on_the_attention_are_called_at_every_size(structures, monkeypatch):
    network = Network(structures, KINDS["vectors"])
    called = []
    handle = network.layer.attention.register_forward_hook(
        lambda *_: called.append(True)
    )
    network.run(monkeypatch, "streamed")
    handle.remove()
    assert called


def moved_parameters(module):
    return {
        name: (value + 0.1 * torch.randn_like(value)).detach()
        for name, value in module.named_parameters()
    }


def test_parameters_put_in_for_a_call_count_backward_too(monkeypatch):
    network = Network(open_structures(), KINDS["vectors"])
    layer, x = network.layer, torch.randn(len(network.pos), 8)
    new = moved_parameters(layer)
    monkeypatch.setattr(paths.COSTS, "stream_edges", 0)

    def slopes(call):
        geometry, pos = make_geometry(network.structures, pos=network.pos)
        out = call(x, network.vec, geometry, "linear")
        return torch.autograd.grad(sum(part.square().sum() for part in out), pos)

    def changed_meanwhile(*arguments):
        out = layer(*arguments)
        with torch.no_grad():
            layer.mlp[0].weight += 1
        return out

    found = slopes(lambda *given: torch.func.functional_call(layer, new, given))
    # As parameters they cannot be told from the layer's own before it is too late.
    own = {name: torch.nn.Parameter(value) for name, value in new.items()}
    with pytest.raises(RuntimeError, match="replaced between forward and backward"):
        slopes(lambda *given: torch.func.functional_call(layer, own, given))
    layer.load_state_dict(new, strict=False)  # the others are buffers
    torch.testing.assert_close(found, slopes(layer))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        slopes(changed_meanwhile)


@pytest.mark.parametrize("module", [torch.nn.Dropout(0.3), torch.nn.RReLU()])
def test_random_modules_are_not_streamed(module, monkeypatch):
    network = Network(open_structures(), KINDS["vectors"])
    network.layer.mlp.insert(2, module)
    geometry, pos = make_geometry(network.structures)
    x = torch.randn(len(pos), 8, requires_grad=True)
    outcomes = []
    for limit in (0, 10**12):
        monkeypatch.setattr(paths.COSTS, "stream_edges", limit)
        torch.manual_seed(3)
        out = network.layer(x, network.vec, geometry, "linear")
        outcomes.append((out, torch.autograd.grad(out[0].sum() + out[1].sum(), x)[0]))
    torch.testing.assert_close(outcomes[0], outcomes[1], rtol=0, atol=0)
    seen = []
    network.layer.mlp[2] = torch.nn.GELU()
    network.layer.mlp[0].register_forward_hook(lambda *_: seen.append(1))
    monkeypatch.setattr(paths.COSTS, "stream_edges", 0)
    network.layer(x, network.vec, geometry, "linear")
    assert len(seen) == 1
