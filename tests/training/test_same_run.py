"""A run goes on with the loss, optimiser and schedule that it had, or not at all."""

import pytest
import torch
from pytorch_lightning import Callback
from torch import nn
from torch.optim import SGD, Adam, AdamW
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from molflt.errors import InputError
from molflt.training.schedules import SCHEDULES
from tests.training.clusters import Clusters
from tests.training.interruption import Stop, same, weights


class Scaled(nn.Module):
    """A loss with a parameter."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, a, b):
        return (a - b).abs() * self.scale.exp() - 0.1 * self.scale


class Rates(Callback):
    """The learning rate of each step."""

    def __init__(self):
        self.seen = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.seen.append(optimizer.param_groups[0]["lr"])


class Counting(SGD):
    """Keeps what it remembers among its options, as optimisers without rates do."""

    def __init__(self, groups):
        super().__init__(groups, lr=1e-3)
        self.defaults["k"] = 0
        for group in self.param_groups:
            group["k"] = 0

    def step(self, closure=None):
        for group in self.param_groups:
            group["k"] += 1
        return super().step(closure)


def momentum(groups):
    return SGD(groups, lr=1e-3, momentum=0.9)


def falling(optimizer):
    return StepLR(optimizer, 1, 0.5)


OPTIONS = {
    "plain": {},
    "constant": {"schedule": "constant"},
    "adamw": {"optimizer": lambda groups: AdamW(groups, lr=1e-3)},
    "adam": {"optimizer": lambda groups: Adam(groups, lr=1e-3)},
    "sgd": {"optimizer": momentum},
    "falling": {"schedule": falling},
    "falling by steps": {"schedule": falling, "schedule_interval": "step"},
    "plateau": {"schedule": ReduceLROnPlateau},
    "lower plateau": {"schedule": ReduceLROnPlateau, "lr": 1e-4},
    "sgd plateau": {"schedule": ReduceLROnPlateau, "optimizer": momentum},
    "lower sgd plateau": {
        "schedule": ReduceLROnPlateau,
        "optimizer": lambda groups: SGD(groups, lr=1e-4, momentum=0.9),
    },
    "scaled": {"loss": Scaled()},
}


def resume(make_task, make_trainer, tmp_path, before, after):
    """Train an epoch with some options and one more with others; return the trainer."""
    trainer = make_trainer(max_epochs=1, limit_train_batches=1)
    trainer.fit(make_task(**OPTIONS[before]), datamodule=Clusters())
    last, task = tmp_path / "a" / "last.ckpt", make_task(**OPTIONS[after])
    task.resume_from(last)
    trainer = make_trainer(folder="b", max_epochs=2, limit_train_batches=1)
    trainer.fit(task, datamodule=Clusters(), ckpt_path=last)
    return trainer


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("plain", "sgd", r"model\.optimizer torch\.\S+\.AdamW instead of \S+\.SGD\."),
        ("sgd", "adam", r"model\.optimizer torch\.\S+\.SGD instead of \S+\.Adam\."),
        (
            "plain",
            "plateau",
            r"schedule by name instead of \S+\.ReduceLROnPlateau, mod",
        ),
        ("falling", "constant", r"had model\.schedule \S+\.StepLR instead of by name"),
        ("falling", "falling by steps", r"had model\.schedule_interval epoch instead"),
        ("plateau", "lower plateau", r"it had model\.lr 0.003 instead of 0.0001\."),
        ("sgd plateau", "lower sgd plateau", r"model\.optimizer\.lr 0.001 instead of"),
        ("scaled", "plain", r"it was trained with the parameters of this model\.loss"),
        ("plain", "scaled", r"was not trained with the parameters of this model\.los"),
    ],
)
def test_another_run_is_refused(
    before, after, words, make_task, make_trainer, tmp_path
):
    with pytest.raises(InputError, match=words):
        resume(make_task, make_trainer, tmp_path, before, after)


# A cosine may follow a constant rate: both are factors of the step.
@pytest.mark.parametrize(
    ("before", "after"), [("constant", "plain"), ("plain", "adamw")]
)
def test_what_can_go_on_goes_on(before, after, make_task, make_trainer, tmp_path):
    trainer = resume(make_task, make_trainer, tmp_path, before, after)
    assert trainer.global_step == 2


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("own", [False, True])
def test_another_rate_acts_from_there_on(
    schedule, own, make_task, make_trainer, tmp_path
):
    """What is resumed trains like a run whose factor of the rate is at that step."""

    def made(lr, weight_decay):
        if own:
            options = {"optimizer": lambda g: SGD(g, lr, weight_decay=weight_decay)}
        else:
            options = {"lr": lr, "weight_decay": weight_decay}
        return make_task(schedule=schedule, warmup_steps=2, **options)

    with pytest.raises(RuntimeError, match="stopped"):
        make_trainer(Stop(7)).fit(made(1e-3, 0.1), datamodule=Clusters())
    last, task, rates = tmp_path / "a" / "last.ckpt", made(1e-4, 0.2), Rates()
    task.resume_from(last)
    trainer = make_trainer(rates, folder="b")
    trainer.fit(task, datamodule=Clusters(), ckpt_path=last)
    factor, total = SCHEDULES[schedule], trainer.global_step
    expected = [1e-4 * factor(step, 2, total) for step in range(7, total)]
    assert rates.seen == pytest.approx(expected, rel=1e-12)
    decays = [group["weight_decay"] for group in trainer.optimizers[0].param_groups]
    assert decays == [0.2, 0.0]


def test_what_an_optimiser_remembers_stays(make_task, make_trainer, tmp_path):
    with pytest.raises(RuntimeError, match="stopped"):
        make_trainer(Stop(7)).fit(make_task(optimizer=Counting), datamodule=Clusters())
    last, task = tmp_path / "a" / "last.ckpt", make_task(optimizer=Counting)
    task.resume_from(last)
    trainer = make_trainer(folder="b")
    trainer.fit(task, datamodule=Clusters(), ckpt_path=last)
    counts = {group["k"] for group in trainer.optimizers[0].param_groups}
    assert counts == {trainer.global_step} != {0}


@pytest.mark.parametrize("name", ["momentum and steps", "scaled"])
def test_a_resumed_run_is_the_whole_run(name, make_task, make_trainer, tmp_path):
    def made():
        if name == "scaled":
            return make_task(loss=Scaled())
        return make_task(optimizer=momentum, schedule=falling)

    whole = made()  # the readout is drawn as training starts
    make_trainer(folder="whole").fit(whole, datamodule=Clusters())
    with pytest.raises(RuntimeError, match="stopped"):
        make_trainer(Stop(7)).fit(made(), datamodule=Clusters())
    last, resumed = tmp_path / "a" / "last.ckpt", made()
    resumed.resume_from(last)
    trainer = make_trainer(folder="b")
    trainer.fit(resumed, datamodule=Clusters(), ckpt_path=last)
    assert same(weights(resumed), weights(whole))


def test_checkpoints_without_these_names_go_on(make_task, make_trainer, tmp_path):
    make_trainer(max_epochs=1).fit(make_task(), datamodule=Clusters())
    last = tmp_path / "a" / "last.ckpt"
    state = torch.load(last, weights_only=True)
    assert state["method"]["optimizer"] == "torch.optim.adamw.AdamW"
    del state["method"]
    torch.save(state, last)
    task = make_task()
    task.resume_from(last)
    trainer = make_trainer(folder="b", max_epochs=2)
    trainer.fit(task, datamodule=Clusters(), ckpt_path=last)
    assert trainer.current_epoch == 2
