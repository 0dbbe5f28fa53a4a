"""The average of weights, step by step."""

import torch

from molflt.training.averaging import RisingAverage


def test_it_starts_at_the_weights_and_moves_slower_and_slower():
    model = torch.nn.Linear(3, 2)
    average = RisingAverage(model, 0.6)
    expected = None
    for step in range(12):
        with torch.no_grad():
            model.weight.normal_()
        average.update_parameters(model)
        decay = min(0.6, (1 + step) / (10 + step))
        weight = model.weight.detach().clone()
        expected = weight if step == 0 else decay * expected + (1 - decay) * weight
        torch.testing.assert_close(average.module.weight.detach(), expected)
    assert average.n_averaged == 12
    assert average.module.weight is not model.weight


def test_constants_are_not_averaged():
    model = torch.nn.BatchNorm1d(2)
    average = RisingAverage(model, 0.9)
    model.running_mean.fill_(1.0)
    average.update_parameters(model)
    assert torch.equal(average.module.running_mean, torch.zeros(2))
