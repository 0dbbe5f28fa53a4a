import pytest
import torch

from molflt.nn import reference, segment


@pytest.fixture(params=[True, False], ids=["torch_scatter", "torch"])
def backend(request, monkeypatch):
    if request.param and not segment.HAS_TORCH_SCATTER:
        pytest.skip("torch_scatter is not installed")
    monkeypatch.setattr(segment, "prefers_torch_scatter", lambda values: request.param)


INDEX = torch.tensor([0, 0, 2, 2, 2, 4])


def test_sum_equals_a_loop_in_value_and_gradient(backend):
    values = torch.randn(6, 3, requires_grad=True)
    fast = segment.segment_sum(values, INDEX, 5)
    slow = reference.segment_sum(values, INDEX, 5)
    torch.testing.assert_close(fast, slow)
    weight = torch.randn(5, 3)
    for one, two in zip(
        torch.autograd.grad((fast * weight).sum(), values),
        torch.autograd.grad((slow * weight).sum(), values),
        strict=True,
    ):
        torch.testing.assert_close(one, two)


def test_mean_and_max_of_empty_segments_are_zero(backend):
    values = torch.randn(6, 2)
    mean = segment.segment_mean(values, INDEX, 5)
    top = segment.segment_max(values, INDEX, 5)
    for out in (mean, top):
        assert torch.equal(out[[1, 3]], torch.zeros(2, 2))
    torch.testing.assert_close(mean[2], values[2:5].mean(0))
    torch.testing.assert_close(top[2], values[2:5].amax(0))


def test_second_derivatives_exist(backend):
    values = torch.randn(6, 2, requires_grad=True)
    assert torch.autograd.gradgradcheck(
        lambda v: segment.segment_sum(v.sin(), INDEX, 5), values
    )
