"""What layers share is computed once in a pass, and anew in the next."""

from functools import partial

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from molflt.encoder import FLTEncoder
from molflt.nn.attention import FLTAttention
from molflt.nn.layer import FLTLayer
from molflt.nn.spectra.shells import RadialShells

from .conftest import make_geometry, open_structures, periodic_structures

CUTOFF = 4.0


@pytest.fixture(params=["masked", "additive"])
def layer(request):
    shells = RadialShells(4, 1.0, 0.02), RadialShells(4, 0.8, 0.12)
    attention = FLTAttention(
        *(8, request.param, 3, 1, CUTOFF, 4 * (request.param == "masked"), *shells)
    )
    return FLTLayer(8, attention, 1.0)


def run(layer, geometry, path, x, vec):
    return layer(x, vec if layer.attention.vector_width else None, geometry, path)[0]


@pytest.mark.parametrize("path", ["dense", "linear"])
def test_a_layer_by_itself_sees_that_its_parameters_have_changed(layer, path):
    geometry, pos = make_geometry(open_structures())
    x, vec = torch.randn(len(pos), 8), torch.randn(len(pos), 3, 4)
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(2):  # with one graph of derivatives a pass
        before = run(layer, geometry, path, x, vec)
        optimiser.zero_grad()
        before.square().sum().backward()
        optimiser.step()
    after = run(layer, geometry, path, x, vec)
    assert not torch.allclose(after, before, rtol=1e-3)
    fresh, _ = make_geometry(open_structures())
    torch.testing.assert_close(after, run(layer, fresh, path, x, vec))


def test_layers_of_a_pass_share_what_depends_on_distances_alone():
    encoder = FLTEncoder(
        *(8, 3), num_near_heads=2, num_far_heads=1, cutoff=CUTOFF, vector_width=4
    )
    calls = []
    for shells in (encoder.near_shells, encoder.far_shells):
        shells.register_forward_hook(lambda module, *_: calls.append(module))
    geometry, pos = make_geometry(periodic_structures(), CUTOFF)
    z = torch.ones(len(pos), dtype=torch.int64)
    first = encoder(z, pos, geometry.batch, geometry=geometry, path="linear")[0]
    once = len(calls)
    assert calls.count(encoder.near_shells) == 1
    second = encoder(z, pos, geometry.batch, geometry=geometry, path="linear")[0]
    assert len(calls) == 2 * once
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize("path", ["dense", "linear"])
@pytest.mark.parametrize(
    "options",
    [{"num_near_heads": 2, "num_far_heads": 1, "cutoff": CUTOFF}, {"form": "additive"}],
)
def test_what_was_made_without_gradients_is_not_for_those_who_need_them(options, path):
    """Checkpointed layers are exact from the second on, or refused, never wrong."""
    encoder = FLTEncoder(8, 3, vector_width=4, **options)
    _, places = make_geometry(open_structures())
    z = torch.arange(1, len(places) + 1)

    def slopes(first, *, reentrant=False):
        pos = places.detach().requires_grad_()
        encoder.zero_grad()
        with pytest.MonkeyPatch.context() as patch:
            for layer in encoder.layers[first:]:
                patch.setattr(
                    layer,
                    "forward",
                    partial(checkpoint, layer.forward, use_reentrant=reentrant),
                )
            encoder(z, pos, path=path)[0].square().sum().backward()
        return [pos.grad, *(p.grad for p in encoder.parameters() if p.requires_grad)]

    for found, expected in zip(slopes(1), slopes(3), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        slopes(0, reentrant=True)
