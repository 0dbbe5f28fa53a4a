import pytest
import torch

from molflt.training.losses import multi_target_loss


@pytest.mark.parametrize(
    ("name", "expected"), [("l1", 1.5), ("mse", 4.5), ("huber", 1.25)]
)
def test_loss_of_known_errors(name, expected):
    # errors 0 and 3: |e| -> 1.5, e^2 -> 4.5, Huber -> (3 - 1/2) / 2
    loss = multi_target_loss(
        name, {"energy": torch.tensor([0.0, 3.0])}, {"energy": torch.zeros(2)}
    )
    assert loss.item() == pytest.approx(expected)


def test_targets_add_up():
    predictions = {"a": torch.ones(3), "b": torch.full((3,), 2.0)}
    labels = {"a": torch.zeros(3), "b": torch.zeros(3)}
    assert multi_target_loss("l1", predictions, labels).item() == 3.0
