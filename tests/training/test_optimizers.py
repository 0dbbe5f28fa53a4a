import pytest
import torch
from torch import nn

from molflt.errors import UsageError
from molflt.training.optimizers import adamw


def test_only_weights_of_linear_layers_decay():
    module = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 3), nn.LayerNorm(3))
    module.spectrum = nn.Parameter(torch.ones(2, 8))
    module.frozen = nn.Parameter(torch.ones(2), requires_grad=False)
    optimizer = adamw(module, lr=1e-3, weight_decay=0.1)
    groups = {
        group["weight_decay"]: group["params"] for group in optimizer.param_groups
    }
    assert [p is module[1].weight for p in groups[0.1]] == [True]
    kept = {id(p) for p in groups[0.0]}
    assert kept == {
        id(p)
        for p in module.parameters()
        if p.requires_grad and p is not module[1].weight
    }


def test_an_unknown_schedule_is_refused(make_task):
    with pytest.raises(UsageError, match="schedule must be cosine or constant"):
        make_task(schedule="step")
