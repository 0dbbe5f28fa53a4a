"""Transforms between points and frequencies: values, adjoints and every derivative."""

import math

import pytest
import torch

from molflt.errors import InputError
from molflt.nn.far import nufft
from molflt.nn.far.nufft import (
    SINGLE_EPS,
    SLOW_LENGTHS,
    Nufft,
    fine_length,
    quick_sizes,
)

SIZES = (2, 3, 1)
SHAPE = (5, 7, 3)
ENGINES = ["fast", "waves"]


def random_complex(*shape):
    return torch.complex(torch.randn(shape), torch.randn(shape))


def points(n=6):
    return (torch.rand(n, 3) * 2 - 1) * math.pi


@pytest.mark.parametrize("engine", ENGINES)
def test_transforms_are_their_sums(engine):
    x, c, modes = points(), random_complex(2, 6), random_complex(2, *SHAPE)
    transform = Nufft(x, SIZES, 1e-13, engine)
    axes = [torch.arange(-m, m + 1.0) for m in SIZES]
    phase = torch.einsum(
        "klmx,nx->klmn", torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=3), x
    )
    forth = torch.einsum("cn,klmn->cklm", c, torch.exp(-1j * phase))
    back = torch.einsum("cklm,klmn->cn", modes, torch.exp(1j * phase))
    torch.testing.assert_close(transform.to_modes(c), forth, rtol=0, atol=1e-11)
    torch.testing.assert_close(transform.to_points(modes), back, rtol=0, atol=1e-11)


@pytest.mark.parametrize("eps", [SINGLE_EPS, 1.5e-5, 3e-5, 3e-4])
def test_single_precision_keeps_its_error_and_says_nothing(eps, capfd):
    x, c = points(200), random_complex(2, 200)
    exact = Nufft(x, (30, 6, 6), 1e-13).to_modes(c)
    single = Nufft(x.float(), (30, 6, 6), eps).to_modes(c.to(torch.complex64))
    assert (single - exact).abs().max() <= eps * c.abs().sum(1).max()
    assert capfd.readouterr().err == ""


def forth(engine):
    return lambda x, c: Nufft(x, SIZES, 1e-13, engine).to_modes(c)


def back(engine):
    return lambda x, modes: Nufft(x, SIZES, 1e-13, engine).to_points(modes)


def there_and_back(engine):
    """What a layer does: both transforms with a filter of its own in between."""

    def run(x, c, weight):
        transform = Nufft(x, SIZES, 1e-13, engine)
        modes = transform.to_modes(c) * weight * (1j * transform.frequencies[1] + 2)
        return transform.to_points(modes)

    return run


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("function", [forth, back, there_and_back])
def test_first_and_second_derivatives_in_points_and_values(function, engine):
    x = points(3).requires_grad_(True)
    last = {
        forth: [random_complex(2, 3)],
        back: [random_complex(2, *SHAPE)],
        there_and_back: [random_complex(2, 3), torch.randn(SHAPE)],
    }[function]
    inputs = (x, *(value.requires_grad_(True) for value in last))
    run = function(engine)
    assert torch.autograd.gradcheck(run, inputs, atol=1e-6, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, inputs, atol=1e-6, fast_mode=True)


@pytest.mark.parametrize("function", [forth, back])
def test_third_derivatives_equal_those_of_explicit_waves(function):
    x = points(4).requires_grad_(True)
    value = random_complex(1, 4) if function is forth else random_complex(1, *SHAPE)
    rows = []
    for engine in ENGINES:
        out = function(engine)(x, value).abs().square().sum()
        for _ in range(3):
            (slope,) = torch.autograd.grad(out, x, create_graph=True)
            out = (slope * torch.linspace(0.5, 1.5, 12).view(4, 3)).sum()
        rows.append(slope.detach())
    torch.testing.assert_close(rows[0], rows[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("dtype", "eps"),
    [
        (torch.float32, 1e-3),
        (torch.float32, 1e-4),
        (torch.float64, 1e-3),
        (torch.float64, 1e-7),
        (torch.float64, 1e-11),
    ],
)
def test_error_is_below_what_was_asked_for(dtype, eps):
    x = points(300).to(dtype)
    c = random_complex(3, 300).to(dtype.to_complex())
    sizes = (12, 9, 6)
    fast, slow = Nufft(x, sizes, eps), Nufft(x.double(), sizes, eps, "waves")
    exact = slow.to_modes(c.to(torch.complex128))
    error = (fast.to_modes(c) - exact).abs().amax((1, 2, 3)) / c.abs().sum(1)
    assert 0 < error.max() < eps
    modes = random_complex(3, 25, 19, 13).to(c.dtype)
    exact = slow.to_points(modes.to(torch.complex128))
    error = (fast.to_points(modes) - exact).abs().amax(1) / modes.abs().sum((1, 2, 3))
    assert error.max() < eps


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_slow_lengths_are_avoided_by_a_few_frequencies(dtype):
    for m in range(1, 90):
        found, *_ = quick_sizes((m, m, m), dtype, 1e-4)
        assert m <= found <= m + 5
        assert fine_length(2 * found + 1, 1.25) not in SLOW_LENGTHS[dtype]
        if fine_length(2 * m + 1, 1.25) not in SLOW_LENGTHS[dtype]:
            assert found == m


def test_a_fine_grid_has_an_even_length_of_small_primes():
    for count in range(1, 400):
        length = fine_length(count, 1.25)
        assert length >= 1.25 * count
        assert length % 2 == 0
        for prime in (2, 3, 5):
            while length % prime == 0:
                length //= prime
        assert length == 1


def test_without_finufft_one_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setattr(nufft, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install finufft"):
        Nufft(points(), SIZES, 1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_transforms_on_a_gpu_equal_explicit_waves():
    x, c = points(50).cuda(), random_complex(2, 50).cuda()
    fast, slow = Nufft(x, SIZES, 1e-10), Nufft(x, SIZES, 1e-10, "waves")
    modes = fast.to_modes(c)
    torch.testing.assert_close(modes, slow.to_modes(c), rtol=0, atol=1e-8)
    torch.testing.assert_close(
        fast.to_points(modes), slow.to_points(modes), rtol=0, atol=1e-7
    )
