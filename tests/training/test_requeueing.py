"""Slurm takes a machine away, and its signal before that saves a state."""

import os
import signal
from pathlib import Path

import pytest
import torch

from molflt.cli import main
from molflt.training.task import FLTTask
from tests.running import CONFIG

WORDS = ["--config", "config.yaml", "--trainer.enable_progress_bar=false"]


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A job of Slurm; the file that its requeueing writes."""
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(CONFIG)
    command = Path("bin/scontrol")
    command.parent.mkdir()
    command.write_text('#!/bin/sh\necho "$@" >> requeued\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent.resolve()}:{os.environ['PATH']}")
    for name in ("NTASKS", "NTASKS_PER_NODE", "JOB_ID"):
        monkeypatch.setenv(f"SLURM_{name}", "1")
    for name in ("PROCID", "LOCALID", "NODEID"):
        monkeypatch.setenv(f"SLURM_{name}", "0")
    monkeypatch.setenv("SLURM_JOB_NAME", "training")
    return Path("runs/clusters/slurm_1/hpc_ckpt_1.ckpt")


def weights(name, version):
    path = f"runs/{name}/version_{version}/checkpoints/last.ckpt"
    return torch.load(path, weights_only=True)["state_dict"]


def taken_away(hook, number, monkeypatch, *more):
    """Train until the machine is taken away at the `number`-th call of a hook."""
    calls = iter(range(1, 1000))

    def end(*args):
        if next(calls) == number:
            for kind in (signal.SIGUSR1, signal.SIGINT, signal.SIGINT):
                signal.raise_signal(kind)

    with monkeypatch.context() as patch:
        patch.setattr(FLTTask, hook, end, raising=False)
        assert main(["fit", *WORDS, *more]) == 130


@pytest.mark.parametrize(
    ("hook", "number"), [("on_validation_batch_end", 3), ("on_train_batch_start", 8)]
)
def test_a_requeued_run_is_the_whole_run(slurm, monkeypatch, hook, number):
    assert main(["fit", *WORDS, "--name=whole"]) == 0
    taken_away(hook, number, monkeypatch)
    assert Path("requeued").read_text() == "requeue 1\n"
    assert slurm.exists()
    assert main(["fit", *WORDS]) == 0
    whole, requeued = weights("whole", 0), weights("clusters", 1)
    assert whole.keys() == requeued.keys()
    for name, value in whole.items():
        assert torch.equal(value, requeued[name]), name
    assert not slurm.parent.exists()  # or the job's next run would be at its end


def test_what_was_saved_is_of_its_own_run_alone(slurm, monkeypatch, capsys):
    assert main(["fit", *WORDS, "--name=whole", "--trainer.max_epochs=2"]) == 0
    best = "runs/whole/version_0/checkpoints/best.ckpt"
    evaluation = ["test", *WORDS, f"--ckpt_path={best}"]
    capsys.readouterr()
    assert main(evaluation) == 0
    errors = capsys.readouterr().out
    taken_away("on_train_batch_start", 2, monkeypatch)
    capsys.readouterr()
    assert main(evaluation) == 0
    assert capsys.readouterr().out == errors
    assert main(["fit", *WORDS, "--name=again", "--trainer.max_epochs=2"]) == 0
    whole, again = weights("whole", 0), weights("again", 0)
    assert all(torch.equal(value, again[name]) for name, value in whole.items())


def test_a_run_that_went_on_goes_on_where_it_was_taken_away(slurm, monkeypatch):
    """And not from where it began, each time the machine is taken away."""
    constant = ["--model.schedule=constant"]
    first = [*constant, "--name=first", "--trainer.max_epochs=1"]
    assert main(["fit", *WORDS, *first]) == 0
    last = "runs/first/version_0/checkpoints/last.ckpt"
    going_on = [*constant, f"--ckpt_path={last}"]
    taken_away("on_train_batch_start", 8, monkeypatch, *going_on)
    reached = torch.load(slurm, weights_only=True)["global_step"]
    steps = []

    def note(task, *args):
        steps.append(task.trainer.global_step)

    monkeypatch.setattr(FLTTask, "on_train_batch_start", note, raising=False)
    assert main(["fit", *WORDS, *going_on]) == 0
    assert steps[0] == reached
    assert reached > torch.load(last, weights_only=True)["global_step"]


def test_jobs_of_one_name_do_not_take_up_each_other(slurm, monkeypatch):
    seeded = ["--seed_everything=7"]
    assert main(["fit", *WORDS, *seeded, "--name=other"]) == 0
    taken_away("on_train_batch_start", 8, monkeypatch)
    monkeypatch.setenv("SLURM_JOB_ID", "2")
    assert main(["fit", *WORDS, *seeded]) == 0
    alone, beside = weights("other", 0), weights("clusters", 1)
    assert all(torch.equal(value, beside[name]) for name, value in alone.items())
    assert slurm.exists()  # the first job's, which is still to go on
