from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.optim import LBFGS, SGD, Adagrad, SparseAdam
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from molflt.errors import UsageError
from molflt.training.optimizers import Descent, adamw
from tests.training.clusters import Clusters

# What of a trainer there is to know.
STEPS = SimpleNamespace(estimated_stepping_batches=10, precision="32-true")


def test_only_weights_of_linear_layers_decay():
    module = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 3), nn.LayerNorm(3))
    module.spectrum = nn.Parameter(torch.ones(2, 8))
    module.frozen = nn.Parameter(torch.ones(2), requires_grad=False)

    def decaying(optimizer):
        groups = optimizer.param_groups
        found = {group["weight_decay"]: group["params"] for group in groups}
        assert [p is module[1].weight for p in found[0.1]] == [True]
        kept = {id(p) for p in found[0.0]}
        assert kept == {
            id(p)
            for p in module.parameters()
            if p.requires_grad and p is not module[1].weight
        }

    decaying(adamw(module, lr=1e-3, weight_decay=0.1))
    own = Descent(1e-3, 0.5, 0, "constant", "epoch", lambda p: SGD(p, weight_decay=0.1))
    decaying(own.start(module, STEPS, None)["optimizer"])


def test_an_unknown_schedule_is_refused(make_task):
    with pytest.raises(UsageError, match="must be cosine, constant or a class of"):
        make_task(schedule="step")


def test_a_schedule_by_name_is_that_of_any_optimiser():
    module = nn.Linear(3, 3)
    own = Descent(1.0, 0.0, 2, "cosine", "epoch", lambda p: Adagrad(p, lr=0.25))
    plan = own.start(module, STEPS, None)
    optimizer, schedule = plan["optimizer"], plan["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == 0.125  # half of its own, not of the task's
    assert max(rates) == 0.25
    assert optimizer.param_groups[0]["lr"] == 0.0


@pytest.mark.parametrize(
    ("optimizer", "words"),
    [(LBFGS, "used: .*groups"), (SparseAdam, "SparseAdam, which is for sparse")],
)
def test_an_optimiser_of_other_things_is_refused(optimizer, words):
    own = Descent(1.0, 0.0, 2, "cosine", "epoch", optimizer)
    with pytest.raises(UsageError, match=rf"model.optimizer cannot be {words}"):
        own.start(nn.Linear(3, 3), STEPS, None)


@pytest.mark.parametrize(("interval", "halvings"), [("epoch", 3), ("step", 9)])
def test_a_schedule_of_ones_own_is_updated_as_asked(
    interval, halvings, make_task, make_trainer
):
    task = make_task(
        optimizer=lambda p: SGD(p, lr=1e-3),
        schedule=lambda optimizer: StepLR(optimizer, 1, 0.5),
        schedule_interval=interval,
    )
    trainer = make_trainer(max_epochs=3, limit_train_batches=3)
    trainer.fit(task, datamodule=Clusters())
    assert type(trainer.optimizers[0]) is SGD
    assert trainer.optimizers[0].param_groups[0]["lr"] == 1e-3 / 2**halvings


def test_a_plateau_is_that_of_the_first_error(make_task, make_trainer):
    # Nothing moves, so that every validation but the first is on a plateau.
    task = make_task(
        optimizer=lambda p: SGD(p, lr=0.0),
        schedule=lambda o: ReduceLROnPlateau(o, patience=0, factor=0.5, threshold=0.0),
    )
    trainer = make_trainer(max_epochs=4, limit_train_batches=1)
    trainer.fit(task, datamodule=Clusters())
    schedule = trainer.lr_scheduler_configs[0]
    assert schedule.monitor == "val_near/energy/mae_eV"
    best = trainer.callback_metrics[schedule.monitor]
    assert schedule.scheduler.best == pytest.approx(float(best))
    assert schedule.scheduler.num_bad_epochs == 0
    assert schedule.scheduler.last_epoch == 4
