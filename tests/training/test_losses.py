import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from molflt.errors import UsageError
from molflt.training.losses import LOSSES, log_loss, multi_target_loss, vector_loss


@pytest.mark.parametrize(
    ("name", "expected"),
    [("l1", 1.5), ("mse", 4.5), ("huber", 1.25), ("log", math.log(76) / 50)],
)
def test_loss_of_known_errors(name, expected):
    # errors 0 and 3: |e| -> 1.5, e^2 -> 4.5, Huber -> (3 - 1/2) / 2
    loss = multi_target_loss(
        name, {"energy": torch.tensor([0.0, 3.0])}, {"energy": torch.zeros(2)}
    )
    assert loss.item() == pytest.approx(expected)


def test_log_loss_is_the_error_where_it_is_small():
    error = torch.tensor([1e-4, -2e-4], dtype=torch.float64)
    small = log_loss(error, torch.zeros_like(error))
    torch.testing.assert_close(small, error.abs(), rtol=5e-3, atol=0)


def test_targets_add_up():
    predictions = {"a": torch.ones(3), "b": torch.full((3,), 2.0)}
    labels = {"a": torch.zeros(3), "b": torch.zeros(3)}
    assert multi_target_loss("l1", predictions, labels).item() == 3.0


@pytest.mark.parametrize("name", LOSSES)
def test_a_weight_is_a_factor_of_value_and_gradient(name):
    torch.manual_seed(0)
    labels = {target: torch.randn(5) for target in "abc"}
    predictions = {target: torch.randn(5, requires_grad=True) for target in "abc"}

    def outcome(weights, targets="abc"):
        chosen = {target: predictions[target] for target in targets}
        loss = multi_target_loss(name, chosen, labels, weights)
        leaves = [predictions[target] for target in "abc"]
        return loss, torch.autograd.grad(loss, leaves, materialize_grads=True)

    (_, plain), terms = outcome(None), [outcome(None, target)[0] for target in "abc"]
    loss, slopes = outcome({"a": 2.0, "c": 0.0})  # powers of two: to the last bit
    assert torch.equal(loss, 2.0 * terms[0] + terms[1])
    for slope, before, factor in zip(slopes, plain, (2.0, 1.0, 0.0), strict=True):
        assert torch.equal(slope, factor * before)
    assert torch.equal(outcome({"a": 4.0, "b": 4.0, "c": 4.0})[0], 4 * outcome({})[0])


@pytest.mark.parametrize(
    ("name", "expected"),
    [("l1", 2.5), ("mse", 12.5), ("huber", 2.25), ("log", math.log(126) / 50)],
)
def test_loss_of_vectors_is_that_of_their_lengths(name, expected):
    # lengths 5 and 0 count: |e| -> 5/2, e^2 -> 25/2, Huber -> (5 - 1/2) / 2
    error = torch.tensor([[3.0, 0.0, 4.0], [0.0, 0.0, 0.0], [100.0, 0.0, 0.0]])
    error.requires_grad_()
    kept = torch.tensor([True, True, False])
    loss = vector_loss(name, error, kept)
    assert loss.item() == pytest.approx(expected)
    loss.backward()
    assert error.grad[0].abs().max() > 0
    assert error.grad[1:].abs().max() == 0  # no NaN at zero, nothing from what is out
    assert vector_loss(name, error, torch.zeros(3, dtype=torch.bool)).item() == 0
    assert vector_loss(name, error[:2]).item() == pytest.approx(expected)


OWN = {
    "function": lambda prediction, label: F.huber_loss(
        prediction, label, reduction="none"
    ),
    "class": nn.HuberLoss(reduction="none"),
}


@pytest.mark.parametrize("own", OWN.values(), ids=OWN)
def test_a_loss_of_ones_own_is_as_one_by_name(own):
    prediction = torch.randn(6, requires_grad=True)
    label = 3 * torch.randn(6)
    label[2] = torch.nan
    error = torch.randn(4, 3)

    def outcome(loss):
        value = multi_target_loss(loss, {"a": prediction}, {"a": label})
        (slope,) = torch.autograd.grad(value, prediction)
        return torch.cat((value[None], slope, vector_loss(loss, error)[None]))

    assert torch.equal(outcome(own), outcome("huber"))


def test_a_loss_that_returns_a_mean_is_refused():
    labels = {"a": torch.zeros(5)}
    with pytest.raises(UsageError, match="for each of 5 values, not the shape"):
        multi_target_loss(F.l1_loss, {"a": torch.ones(5)}, labels)
