"""The pretended GPU refuses and waits where a real one does, and computes the same."""

import pytest
import torch

from .pretend_gpu import DEVICE, PretendGPU


@pytest.fixture
def gpu():
    with PretendGPU() as gpu:
        yield gpu


def test_it_computes_what_the_processor_does(gpu):
    a, b = torch.randn(2, 3, 4)
    there = [x.to(DEVICE).requires_grad_() for x in (a, b)]
    slope, other = torch.autograd.grad((there[0] * there[1]).sum(), there)
    assert slope.device == DEVICE
    torch.testing.assert_close(slope.cpu(), b, rtol=0, atol=0)
    torch.testing.assert_close(other.cpu(), a, rtol=0, atol=0)
    there[0].detach()[:, 1] += 1
    a[:, 1] += 1
    torch.testing.assert_close(there[0].detach().cpu(), a, rtol=0, atol=0)


def test_it_trains_a_module(gpu):
    layer = torch.nn.Linear(4, 2).to(DEVICE)
    assert layer.weight.device == DEVICE
    before = layer.weight.detach().cpu().clone()
    layer(torch.ones(3, 4, device=DEVICE)).sum().backward()
    torch.optim.AdamW(layer.parameters()).step()
    assert not torch.equal(layer.weight.detach().cpu(), before)


def test_tensors_of_both_devices_do_not_mix(gpu):
    there = torch.ones(3, device=DEVICE)
    with pytest.raises(RuntimeError, match="on the CPU"):
        there + torch.ones(3)
    with pytest.raises(RuntimeError, match="on the CPU"):
        there[torch.tensor([0])]
    with pytest.raises(TypeError, match="numpy"):
        there.numpy()
    assert (there + torch.tensor(1.0)).tolist() == [2, 2, 2]


# What a GPU is asked for, and how often the host waits for it.
QUESTIONS = {
    "item": (lambda x: x.sum().item(), 1),
    "list": (lambda x: x.tolist(), 1),
    "truth": (lambda x: bool((x > 0).all()), 1),
    "nonzero": (lambda x: x.nonzero(), 1),
    "mask": (lambda x: x[x > 0], 1),
    "unique": (torch.unique, 1),
    "count": (lambda x: torch.bincount(x.long()), 1),
    "repeat": (lambda x: x.repeat_interleave(x.long()), 1),
    "known repeat": (lambda x: x.repeat_interleave(x.long(), output_size=6), 0),
    "literal": (lambda x: torch.tensor([1.0], device=x.device), 1),
    "new literal": (lambda x: x.new_tensor([1.0]), 1),
    "filled": (lambda x: x.new_full((2,), 1.0), 0),
    "upload": (lambda x: torch.ones(2).to(x.device), 1),
    "upload behind": (lambda x: torch.ones(2).to(x.device, non_blocking=True), 0),
    "arithmetic": (lambda x: (x * 2).cumsum(0).argsort(), 0),
    "index": (lambda x: x[x.long() - 1], 0),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_questions_are_waited_for(gpu, question):
    ask, count = QUESTIONS[question]
    there = torch.tensor([1.0, 2.0, 3.0]).to(DEVICE)
    gpu.waits.clear()
    ask(there)
    assert len(gpu.waits) == count, gpu.waits
    assert all("test_pretend_gpu.py" in place for place in gpu.waits)
