"""Near and far heads: every path equals the slow twin, in value and gradient."""

import pytest
import torch
from ase.build import bulk, fcc111, molecule

from molflt.nn import reference
from molflt.nn.cutoff import CosineCutoff, PolynomialCutoff
from molflt.nn.far.attention import FarAttention
from molflt.nn.near.attention import NearAttention
from molflt.nn.spectra.shells import RadialShells

from .conftest import (
    assert_same_gradients,
    inputs_of,
    make_geometry,
    open_structures,
    per_graph,
    unchanged,
)

CUTOFF = 4.0


def near(vectors, cutoff=None):
    shells = RadialShells(6, band=1.0, min_width=0.02)
    return NearAttention(
        8, 2, 3, 2 * vectors, 2 * vectors, 2, shells, cutoff or PolynomialCutoff(CUTOFF)
    )


def far(vectors):
    # Narrow in real space, so that the brute-force sum over images stays small.
    shells = RadialShells(4, band=0.8, min_width=0.12)
    return FarAttention(8, 2, 3, 2, shells, vectors=vectors)


def features(n, vectors):
    x = torch.randn(n, 8, requires_grad=True)
    vec = torch.randn(n, 3, 4, requires_grad=True) if vectors else None
    return x, vec


@pytest.mark.parametrize("path", ["dense", "linear"])
@pytest.mark.parametrize(
    ("rows", "has_vec", "words"), [(2, True, "3 rows"), (3, False, "need vec")]
)
def test_near_heads_refuse_features_of_other_atoms(path, rows, has_vec, words):
    """Compiled loops would read beyond the end of them."""
    geometry, _ = make_geometry([molecule("H2O")])
    x, vec = features(rows, has_vec)
    with pytest.raises(ValueError, match=words):
        near(True)(x, vec, unchanged(vec), geometry, path)


@pytest.mark.parametrize("vectors", [True, False])
@pytest.mark.parametrize("path", ["dense", "linear"])
def test_near_path_equals_slow_twin(structures, path, vectors):
    module = near(vectors)
    pos = make_geometry(structures)[1].requires_grad_(True)
    geometry, _ = make_geometry(structures, pos=pos)
    x, vec = features(len(pos), vectors)
    fast = module(x, vec, unchanged(vec), geometry, path)
    slow = per_graph(
        geometry,
        pos,
        structures,
        lambda mine, places, images: reference.near_attention(
            module, x[mine], None if vec is None else vec[mine], places, images
        ),
    )
    for one, two in zip(fast, slow, strict=True):
        if one is not None:
            torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-11)
    assert_same_gradients(fast, slow, inputs_of(module, x, vec, pos))


def test_an_atom_does_not_attend_to_itself_but_to_its_images():
    atom = open_structures()[2]
    geometry, _ = make_geometry([atom])
    x, vec = features(1, True)
    for path in ("dense", "linear"):
        assert not near(True)(x, vec, unchanged(vec), geometry, path)[0].any()
        alone = far(True)(x, geometry, path)[0]
        torch.testing.assert_close(alone, torch.zeros(1, 6), rtol=0, atol=1e-5)
    atom.cell, atom.pbc = 3.0 * torch.eye(3).numpy(), True
    geometry, _ = make_geometry([atom])
    for path in ("dense", "linear"):
        assert near(True)(x, vec, unchanged(vec), geometry, path)[0].abs().max() > 1e-3
        assert far(True)(x, geometry, path)[0].abs().max() > 1e-3


@pytest.mark.parametrize("cutoff", [PolynomialCutoff(CUTOFF), CosineCutoff(CUTOFF)])
def test_cutoff_starts_at_one_and_ends_at_zero(cutoff):
    r = torch.tensor([0.0, CUTOFF, CUTOFF + 1], requires_grad=True)
    value = cutoff(r)
    torch.testing.assert_close(value.detach(), torch.tensor([1.0, 0.0, 0.0]))
    (slope,) = torch.autograd.grad(value.sum(), r)
    torch.testing.assert_close(slope, torch.zeros(3), rtol=0, atol=1e-12)


def test_near_heads_are_continuous_at_the_cutoff():
    """An atom crossing the cutoff moves neither value nor gradient."""
    module = near(True)
    x, vec = features(2, True)
    outputs, gradients = [], []
    for r in (CUTOFF - 1e-7, CUTOFF + 1e-7):
        pos = torch.tensor([[0.0, 0.0, 0.0], [r, 0.0, 0.0]], requires_grad=True)
        from ase import Atoms

        geometry, _ = make_geometry([Atoms("H2", pos.detach().numpy())], pos=pos)
        out = module(x, vec, unchanged(vec), geometry, "linear")
        outputs.append(torch.cat([out[0].flatten(), out[1].flatten()]))
        total = outputs[-1].sum()
        gradients.append(
            torch.autograd.grad(total, pos)[0]
            if total.requires_grad and len(geometry.pairs.r)
            else torch.zeros(2, 3)
        )
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=1e-12)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ["molecules", "solid"])
def test_messages_have_unit_scale_at_initialisation(kind):
    """Neither vanishing nor exploding; directions cancel in part."""
    if kind == "molecules":
        systems = [molecule(name) for name in ("C6H6", "CH3CH2OH", "C3H7")]
    else:
        systems = [fcc111("Cu", (3, 3, 4), vacuum=9.0), bulk("Al", cubic=True)]
        for atoms in systems:
            atoms.rattle(0.2, seed=1)
    geometry, pos = make_geometry(systems, cutoff=5.0)
    x, vec = torch.randn(len(pos), 128), torch.zeros(len(pos), 3, 64)
    cutoff = PolynomialCutoff(5.0)
    near_shells = RadialShells(32, band=3.0, min_width=0.02)
    near_heads = NearAttention(128, 8, 16, 8, 4, 8, near_shells, cutoff)
    far_shells = RadialShells(8, band=0.25, min_width=0.02)
    far_heads = FarAttention(128, 8, 8, 2, far_shells, vectors=True)
    for out in (near_heads(x, vec, unchanged(vec), geometry), far_heads(x, geometry)):
        scalars, vectors = out[0].detach(), out[1].detach()
        assert 0.1 < float(scalars.std()) < 5
        assert 0.01 < float(vectors.std()) < 5
