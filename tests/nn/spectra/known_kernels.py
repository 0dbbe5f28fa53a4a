"""What holds for every spectrum of a known kernel."""

import torch

import molflt
from molflt.checkpoint import save_model
from tests.builders import energy_model, molecules


def assert_gradients_at_zero_are_finite(spectrum):
    """Gradients by D and xi, and by the parameters, at D = 0 and xi = 0."""
    shape = (spectrum.num_heads, 2, 3)
    for function, point in (
        (spectrum.kernel, torch.zeros(2, 3)),
        (spectrum.density, torch.zeros(2, 3)),
        (spectrum.own_density, torch.zeros(shape)),
    ):
        point.requires_grad_(True)
        gradients = torch.autograd.grad(
            function(point).sum(), [point, *spectrum.parameters()], create_graph=True
        )
        assert torch.equal(gradients[0], torch.zeros_like(point))
        assert all(torch.isfinite(g).all() for g in gradients)
        second = torch.autograd.grad(
            sum(g.sum() for g in gradients), point, allow_unused=True
        )[0]
        assert second is None or torch.isfinite(second).all()


def without_gradient(spectrum, function, spread):
    """Names of the parameters that a function at random points does not depend on."""
    loss = function(spread * torch.randn(200, 3)).square().sum()
    names, parameters = zip(*spectrum.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, parameters)
    assert all(torch.isfinite(g).all() for g in gradients)
    return [n for n, g in zip(names, gradients, strict=True) if not g.abs().min() > 0]


def assert_own_density_is_the_density(spectrum):
    xi = 0.2 * torch.randn(2, 5, 3)
    every = spectrum.density(xi)
    assert every.shape == (spectrum.num_heads, 2, 5)
    own = spectrum.own_density(xi[:1].expand(spectrum.num_heads, -1, -1))
    torch.testing.assert_close(own, every[:, 0])


def assert_model_learns_a_step_and_returns(name, tmp_path):
    """A model of the additive form trains one step and survives its checkpoint."""
    torch.set_default_dtype(torch.float32)
    model = energy_model({"form": "additive", "spectrum": name, "num_layers": 1})
    graph = molecules()[0]
    before = model(graph)["energy"].detach()
    learned = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(learned, lr=1e-2)
    model(graph)["energy"].square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in learned)
    spectrum = model.encoder.layers[0].attention.heads.rpe.spectrum
    old = {n: p.detach().clone() for n, p in spectrum.named_parameters()}
    optimizer.step()
    after = model(graph)["energy"].detach()
    assert not torch.equal(before, after)
    for n, p in spectrum.named_parameters():
        assert torch.equal(p, old[n]) != p.requires_grad
    save_model(model, tmp_path / "model.ckpt")
    again = molflt.load(tmp_path / "model.ckpt")
    torch.testing.assert_close(again(graph)["energy"].detach(), after)
