"""A resumed run is the whole run: batches, validations and weights."""

import signal
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import yaml

from molflt.cli import main
from molflt.errors import InputError
from molflt.training.task import FLTTask
from tests.training.clusters import Clusters
from tests.training.interruption import Stop

# Five batches an epoch; another length must not be another schedule.
CONFIG = {
    "model": {
        "encoder": {
            "class_path": "molflt.FLTEncoder",
            "init_args": {"width": 16, "num_layers": 1, "num_near_heads": 2},
        },
        "lr": 0.003,
        "schedule": "constant",
    },
    "data": {"class_path": "tests.training.clusters.Clusters"},
    "checkpoint": {"monitor": "val_near/energy/mae_eV"},
    "ema": {"decay": 0.9},
    "trainer": {"accelerator": "cpu", "enable_progress_bar": False},
}
ACCUMULATE = ["--trainer.accumulate_grad_batches=2"]
LIMITS = {
    "steps": ["--trainer.max_epochs=100", "--trainer.max_steps=17"],
    "epochs": ["--trainer.max_epochs=4"],
    "both": ["--trainer.max_epochs=3", "--trainer.max_steps=100"],
    # Epochs that end without a validation.
    "interval": ["--trainer.max_steps=17", "--trainer.val_check_interval=2"],
    # Validations counted across epochs.
    "across": [
        *("--trainer.max_steps=17", "--trainer.val_check_interval=7"),
        "--trainer.check_val_every_n_epoch=null",
    ],
    "accumulate": ["--trainer.max_epochs=4", *ACCUMULATE],
    "alternate": ["--trainer.max_steps=17", "--trainer.check_val_every_n_epoch=2"],
}
STOPS = [
    ("steps", "on_train_batch_end", 5),  # the last of an epoch: validation is due
    ("steps", "on_validation_batch_end", 3),  # the first of two
    ("steps", "on_validation_batch_end", 4),
    ("steps", "on_train_batch_start", 6),
    ("steps", "on_train_batch_end", 12),
    ("steps", "on_train_epoch_end", 2),
    ("steps", "on_save_checkpoint", 3),
    ("steps", "max_steps", 10),
    ("steps", "max_steps", 12),
    ("epochs", "on_validation_batch_end", 3),
    ("epochs", "max_steps", 12),
    ("both", "on_train_epoch_end", 2),
    ("both", "max_steps", 10),
    ("interval", "on_train_batch_end", 5),
    ("across", "on_train_batch_end", 6),  # validation is due after the seventh
    ("alternate", "max_steps", 5),
    ("accumulate", "on_train_batch_end", 5),  # the last, with a step of its own
    ("accumulate", "on_train_batch_end", 6),
    ("accumulate", "max_steps", 4),
    ("accumulate", "on_validation_batch_end", 3),
]
# Between two steps: gradients of one batch, the first or third of an epoch, are lost.
BETWEEN_STEPS = [
    ("accumulate", "on_train_batch_start", 6),
    ("accumulate", "on_train_batch_end", 7),
]


@contextmanager
def traced(folder):
    """Work in `folder`; list steps with their batches, and validations, as they run."""
    events = []
    training_step = FLTTask.training_step

    def step(task, batch, batch_idx):
        position = task.global_step, task.current_epoch, batch_idx
        events.append((*position, tuple(batch.sid)))
        return training_step(task, batch, batch_idx)

    def validated(task):
        events.append(("validation", task.global_step, task.current_epoch))

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("config.yaml").write_text(yaml.safe_dump(CONFIG))
        patch.setattr(FLTTask, "training_step", step)
        patch.setattr(FLTTask, "on_validation_end", validated, raising=False)
        yield events


def run(name, *words):
    """Train; return whether the run came to its end, and the path of its last state."""
    finished = main(["fit", "--config=config.yaml", f"--name={name}", *words]) == 0
    return finished, Path(f"runs/{name}/version_0/checkpoints/last.ckpt").resolve()


def run_until(hook, number, words):
    """Train until the `number`-th call of `hook`, or that many steps."""
    if hook == "max_steps":
        finished, last = run("first", *words, f"--trainer.max_steps={number}")
        assert finished
        return last
    calls = iter(range(1, 1000))
    usual = getattr(FLTTask, hook, None)

    def interrupt(*args):
        if next(calls) == number:
            signal.raise_signal(signal.SIGINT)
        if usual is not None:
            usual(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FLTTask, hook, interrupt, raising=False)
        finished, last = run("first", *words)
    assert not finished
    return last


@pytest.fixture(scope="module")
def whole(request, tmp_path_factory):
    """Options of a run, its events, and its last state."""
    words = LIMITS[request.param]
    with traced(tmp_path_factory.mktemp("whole")) as events:
        finished, last = run("whole", *words)
    assert finished
    return words, events, torch.load(last, weights_only=True)


@pytest.mark.parametrize(
    ("whole", "hook", "number"), STOPS + BETWEEN_STEPS, indirect=["whole"]
)
def test_a_run_in_two_parts_is_the_whole_run(whole, tmp_path, hook, number):
    words, expected, state = whole
    with traced(tmp_path) as events:
        last = run_until(hook, number, words)
        assert 0 < len(events) < len(expected)
        finished, last = run("rest", *words, f"--ckpt_path={last}")
    assert finished
    # A batch comes again if its step was not taken.
    again = ("accumulate", hook, number) in BETWEEN_STEPS and words[1:] == ACCUMULATE
    assert list(dict.fromkeys(events)) == expected
    assert len(events) == len(expected) + again
    resumed = torch.load(last, weights_only=True)
    assert resumed["position"] == state["position"]
    for weights, others in (
        (state["state_dict"], resumed["state_dict"]),
        (state["molflt"]["state"], resumed["molflt"]["state"]),
    ):
        assert weights.keys() == others.keys()
        for name, value in weights.items():
            assert torch.equal(value, others[name]), name


@pytest.mark.parametrize(
    ("validation", "steps"),
    [
        ("--trainer.check_val_every_n_epoch=2", 7),
        ("--trainer.val_check_interval=2", 5),
    ],
)
def test_the_last_state_is_kept_where_no_validation_is_due(tmp_path, validation, steps):
    with traced(tmp_path):
        finished, last = run("run", validation, f"--trainer.max_steps={steps}")
        assert finished
        assert torch.load(last, weights_only=True)["global_step"] == steps


def test_a_run_may_go_on_with_another_number_of_steps_an_epoch(tmp_path):
    """Where it is, and what it has left of an epoch, does not depend on that."""
    parts = [
        (["--trainer.max_epochs=2"], {"epoch": 2, "batch": 0}),
        (["--trainer.max_epochs=4", *ACCUMULATE], {"epoch": 4, "batch": 0}),
        (
            ["--trainer.max_steps=17", "--trainer.max_epochs=9"],
            {"epoch": 4, "batch": 1},
        ),
        (["--trainer.max_epochs=6", *ACCUMULATE], {"epoch": 6, "batch": 0}),
    ]
    going_on = []
    with traced(tmp_path) as events:
        for number, (words, place) in enumerate(parts):
            finished, last = run(f"part{number}", *words, *going_on)
            assert finished
            state = torch.load(last, weights_only=True)
            assert state["position"] == place
            going_on = [f"--ckpt_path={last}"]
    assert state["molflt"]["origin"]["training"]["epochs"] == 6
    # 5 an epoch; with two batches a step 3, also of the 4 that one step has left.
    assert state["global_step"] == 2 * 5 + 2 * 3 + 1 + 3 + 3
    steps = [event for event in events if event[0] != "validation"]
    for epoch in range(6):
        seen = [sid for event in steps if event[1] == epoch for sid in event[3]]
        assert len(seen) == len(set(seen)) == 20


def test_a_callback_that_changes_the_accumulation_is_refused(tmp_path, capsys):
    callback = "--trainer.callbacks=GradientAccumulationScheduler"
    words = [callback, "--trainer.callbacks.scheduling={0: 1, 2: 2}"]
    with traced(tmp_path) as events:
        finished, last = run("run", "--trainer.max_epochs=6", *words)
    assert not finished
    assert not events
    assert not last.exists()
    told = capsys.readouterr().err
    assert "has GradientAccumulationScheduler, but a run has one accumulation" in told


@pytest.mark.filterwarnings("ignore:You requested to overfit")
def test_overfitting_cannot_go_on_within_an_epoch(make_task, make_trainer, tmp_path):
    """Lightning replaces the sampler, and the first batches would come once more."""
    data = Clusters(batch_size=4)
    first = make_trainer(Stop(5), overfit_batches=3)
    with pytest.raises(RuntimeError, match="stopped"):
        first.fit(make_task(), datamodule=data)
    resumed, path = make_task(), tmp_path / "a" / "last.ckpt"
    resumed.resume_from(path)
    second, data = make_trainer(folder="b", overfit_batches=3), Clusters(batch_size=4)
    with pytest.raises(InputError, match="overfit_batches .* after 2 of its batches"):
        second.fit(resumed, datamodule=data, ckpt_path=path)
