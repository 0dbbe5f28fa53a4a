"""Layers by themselves: what they need of the atoms' places, and what they refuse."""

import numpy as np
import pytest
import torch

from molflt.nn import FLTAttention, FLTLayer, Geometry
from tests.nn.conftest import make_geometry

OPTIONS = {"num_near_heads": 3, "num_far_heads": 1, "cutoff": 3.0}


def made(vector_width=4, **options):
    torch.manual_seed(0)
    attention = FLTAttention(8, vector_width=vector_width, **OPTIONS | options)
    return FLTLayer(8, attention)


def fields(structures):
    sizes = torch.tensor([len(a) for a in structures])
    return {
        "pos": torch.tensor(np.concatenate([a.positions for a in structures])),
        "batch": torch.repeat_interleave(torch.arange(len(structures)), sizes),
        "cell": torch.tensor(np.stack([a.cell.array for a in structures])),
        "pbc": torch.tensor(np.stack([a.pbc for a in structures])),
    }


@pytest.mark.parametrize("path", ["dense", "linear"])
def test_longer_lists_of_pairs_change_nothing(path, structures):
    layer, given = made(matrix_head_width=2), fields(structures)
    x, vec = torch.randn(len(given["pos"]), 8), torch.randn(len(given["pos"]), 3, 4)
    outcomes = []
    for cutoff in (3.0, 4.5):
        pos = given["pos"].clone().requires_grad_()
        geometry = Geometry.of(**given | {"pos": pos}, cutoff=cutoff)
        out = layer(x, vec, geometry, path)
        slope = torch.autograd.grad(sum(part.square().sum() for part in out), pos)
        outcomes.append((*out, *slope))
    for short, long in zip(*outcomes, strict=True):
        torch.testing.assert_close(long, short, rtol=1e-10, atol=1e-11)


def test_pairs_are_found_as_by_hand(structures):
    given = fields(structures)
    by_hand, pos = make_geometry(structures, 3.0)
    pos.requires_grad_()
    layer = made()
    x, vec = torch.randn(len(pos), 8), torch.zeros(len(pos), 3, 4)
    geometries = (by_hand, Geometry.of(**given, cutoff=3.0))
    first, second = (layer(x, vec, geometry) for geometry in geometries)
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_one_graph_needs_no_batch():
    pos = torch.rand(5, 3) * 3
    layer, x = made(vector_width=0), torch.randn(5, 8)
    one = layer(x, None, Geometry.of(pos, cutoff=3.0))
    same = layer(
        x, None, Geometry.of(pos, torch.zeros(5, dtype=torch.int64), cutoff=3.0)
    )
    assert torch.equal(one[0], same[0])
    empty = Geometry.of(pos[:0], cutoff=3.0)
    assert layer(x[:0], None, empty)[0].shape == (0, 8)


@pytest.mark.parametrize("path", ["auto", "dense", "linear"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pairs_of_a_smaller_cutoff_are_refused(path, dtype):
    pos, x = torch.rand(5, 3) * 6, torch.randn(5, 8, dtype=dtype)
    layer = made(vector_width=0).to(dtype)
    geometry = Geometry.of(pos, cutoff=2.9, dtype=dtype)
    with pytest.raises(ValueError, match=r"up to 2\.9 Å alone, and a layer .* 3 Å"):
        layer(x, None, geometry.in_pass(), path)
    with pytest.raises(ValueError, match=r"Geometry\.of\(pos, batch, cutoff=\.\.\.\)"):
        layer(x, None, Geometry.of(pos, dtype=dtype), path)


@pytest.mark.parametrize(
    ("width", "given", "words"),
    [
        (4, None, r"\(5, 3, 4\), zeros before the first layer, received None"),
        (4, 3, r"\(5, 3, 4\), .* received \(5, 3, 3\)"),
        (0, 4, r"vec must be None, received \(5, 3, 4\)"),
    ],
)
def test_vectors_of_another_width_are_refused(width, given, words):
    geometry = Geometry.of(torch.rand(5, 3), cutoff=3.0)
    x, vec = torch.randn(5, 8), None if given is None else torch.zeros(5, 3, given)
    layer = made(vector_width=width)
    for module in (layer, layer.attention):
        with pytest.raises(ValueError, match=words):
            module(x, vec, geometry)
