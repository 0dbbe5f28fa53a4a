"""Training from the command line: files, interruption, resuming, a full disk."""

import csv
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import ase.io
import pytest
import torch
from ase.build import molecule
from pytorch_lightning.callbacks.model_checkpoint import warning_cache

import molflt.checkpoint
from molflt.cli import main
from molflt.commands.compare import find_run
from molflt.training.task import FLTTask
from tests.running import CONFIG, ROOT


@pytest.fixture
def molflt_process():
    """``molflt`` as a user runs it; none outlives its test."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with ExitStack() as processes:

        def start(*words, **options):
            process = subprocess.Popen(
                [sys.executable, "-m", "molflt.cli", *map(str, words)],
                env=environment,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                **options,
            )
            processes.enter_context(process)
            processes.callback(process.kill)  # nothing happens if it has ended
            return process

        yield start


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(CONFIG)
    ase.io.write("water.xyz", molecule("H2O"))
    return tmp_path


def test_fit_test_and_predict_from_the_checkpoint_alone(folder, capsys):
    assert main(["fit", "--config", "config.yaml"]) == 0, capsys.readouterr().err
    run = Path("runs/clusters/version_0")
    written = {path.name for path in run.rglob("*")}
    assert {"config.yaml", "metrics.csv", "best.ckpt", "last.ckpt"} <= written
    assert any(name.startswith("events.out.tfevents") for name in written)
    header = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"train/loss", "val_near/energy/mae_eV", "val_far/energy/ewt_percent"} < set(
        header
    )
    capsys.readouterr()
    best = str(run / "checkpoints" / "best.ckpt")
    assert main(["test", "--config", "config.yaml", "--ckpt_path", best]) == 0
    assert "test_near" in capsys.readouterr().out
    assert Path("runs/clusters/test/version_0/metrics.csv").is_file()
    # What `molflt compare runs/clusters` takes is the training.
    assert find_run(Path("runs/clusters")) == run
    assert main(["predict", best, "water.xyz"]) == 0
    printed = capsys.readouterr()
    assert "H2O" in printed.out
    assert f"{run.parent.name}, trained on " in printed.err
    # A model without the state of its training cannot be trained on.
    molflt.save_model(molflt.load(best), "bare.ckpt")
    words = ["fit", "--config", "config.yaml", "--ckpt_path", "bare.ckpt"]
    assert main([*words, "--trainer.logger=false"]) == 1
    assert "without the state of its training" in capsys.readouterr().err


def test_a_resumed_run_keeps_the_order_of_the_seed_it_had(folder):
    endless = CONFIG.replace("lr: 0.003", "lr: 0.003\n  schedule: constant")
    Path("endless.yaml").write_text(endless.replace("max_epochs: 4", "max_epochs: 99"))
    words = ["fit", "--config", "endless.yaml"]
    last = "runs/{}/version_0/checkpoints/last.ckpt".format
    for name, steps in (("part", 3), ("whole", 7)):
        options = [f"--name={name}", f"--trainer.max_steps={steps}"]
        assert main([*words, *options, "--seed_everything=2"]) == 0
    options = ["--name=resumed", "--trainer.max_steps=7"]
    assert main([*words, *options, "--ckpt_path", last("part")]) == 0
    whole, resumed = (
        torch.load(last(name), weights_only=True)["molflt"]["state"]
        for name in ("whole", "resumed")
    )
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_interrupted_run_says_how_to_go_on_and_equals_the_whole_run(
    number, code, folder, molflt_process
):
    # Another length must not be another schedule.
    endless = CONFIG.replace("lr: 0.003", "lr: 0.003\n  schedule: constant")
    endless = endless.replace("max_epochs: 4", "max_epochs: 100000")
    Path("endless.yaml").write_text(endless)
    words = ["fit", "--config", "endless.yaml"]
    process = molflt_process(*words)
    last = Path("runs/clusters/version_0/checkpoints/last.ckpt")
    for _ in range(1800):
        if last.exists():
            break
        time.sleep(0.1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert f"molflt: Interrupted. Go on with --ckpt_path {last}." in errors
    assert "Traceback" not in errors
    stopped = torch.load(last, weights_only=True)["global_step"]
    assert stopped > 0
    words.append(f"--trainer.max_steps={stopped + 7}")
    assert main([*words, "--name=whole"]) == 0
    assert main([*words, "--name=resumed", "--ckpt_path", str(last)]) == 0
    whole, resumed = (
        torch.load(f"runs/{name}/version_0/checkpoints/last.ckpt", weights_only=True)
        for name in ("whole", "resumed")
    )
    assert whole["global_step"] == resumed["global_step"] == stopped + 7
    for name, value in whole["molflt"]["state"].items():
        assert torch.equal(value, resumed["molflt"]["state"][name]), name


def test_a_run_that_stopped_at_the_end_of_an_epoch_goes_on_without_warnings(
    folder, monkeypatch
):
    warning_cache.clear()  # Lightning would warn once in a process
    with monkeypatch.context() as patch:
        patch.setattr(
            FLTTask,
            "on_validation_end",
            lambda _: signal.raise_signal(signal.SIGINT),
            raising=False,
        )
        assert main(["fit", "--config", "config.yaml", "--name=first"]) != 0
    last = "runs/first/version_0/checkpoints/last.ckpt"
    assert torch.load(last, weights_only=True)["position"]["batch"] == 0
    words = ["fit", "--config", "config.yaml", "--trainer.max_steps=12"]
    assert main([*words, "--ckpt_path", last]) == 0


def test_a_run_that_is_interrupted_before_its_first_step_leaves_no_folder(
    folder, monkeypatch, capsys
):
    def interrupted(*_):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("molflt.training.task.starting_model", interrupted)
    assert main(["fit", "--config", "config.yaml"]) == 130
    assert "molflt: Interrupted.\n" in capsys.readouterr().err
    assert not list(Path("runs").rglob("version_*"))


@pytest.mark.slow
def test_two_processes_count_every_structure_once(folder, molflt_process):
    """Splits of 6 and 7 on two processes: Lightning repeats a record of the second."""
    assert main(["fit", "--config", "config.yaml", "--trainer.max_epochs=1"]) == 0
    (last,) = Path("runs").rglob("last.ckpt")
    words = ["validate", "--config", "config.yaml", "--ckpt_path", str(last)]
    tables = []
    for devices in ("1", "2"):
        more = ["--trainer.devices", devices, "--trainer.strategy", "ddp"]
        process = molflt_process(*words, *(more if devices == "2" else []))
        printed, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        tables.append([row for row in printed.splitlines() if "│ val_" in row])
    assert len(tables[0]) == 2
    assert tables[0] == tables[1]


def test_a_run_without_a_validation_says_so(folder, capsys):
    words = ["fit", "--config=config.yaml", "--trainer.max_steps=1"]
    assert main(words) == 0
    printed, told = capsys.readouterr()
    assert "There was no validation" in printed
    assert "split" not in printed  # no empty table
    (last,) = Path("runs").rglob("last.ckpt")
    assert "Validation comes every 5 steps" in told
    assert f"its last state is {last}." in told


@pytest.mark.parametrize("name", ["", "../elsewhere", "/elsewhere"])
def test_a_name_is_one_below_the_folder_of_runs(folder, capsys, name):
    assert main(["fit", "--config=config.yaml", f"--name={name}"]) == 2
    assert "is no name of a folder in runs" in capsys.readouterr().err
    assert not (folder.parent / "elsewhere").exists()
    assert not list(folder.rglob("*.ckpt"))


def test_a_run_at_its_end_does_not_go_on(folder, capsys):
    words = ["fit", "--config=config.yaml", "--trainer.max_epochs=1"]
    assert main(words) == 0
    last = "runs/clusters/version_0/checkpoints/last.ckpt"
    capsys.readouterr()
    assert main([*words, "--ckpt_path", last]) == 2
    assert "is at the end of its training; raise" in capsys.readouterr().err


def test_weights_of_targets_come_from_files_and_words(folder, capsys):
    """All ways to say the same give the same weights of the model, others do not."""
    text = CONFIG.replace("lr: 0.003", "lr: 0.003\n  target_weights: {energy: 4}")
    Path("weighted.yaml").write_text(text)
    ways = {
        "yaml": ["--config=weighted.yaml"],
        "words": ["--config=config.yaml", "--model.target_weights={energy: 4}"],
        "one": ["--config=config.yaml", "--model.target_weights.energy=4"],
        "over": ["--config=weighted.yaml", "--model.target_weights.energy=1"],
    }
    logged = {}
    for name, words in ways.items():
        words = ["fit", *words, f"--name={name}", "--trainer.max_steps=2"]
        assert main(words) == 0, capsys.readouterr().err
        (path,) = Path(f"runs/{name}").rglob("metrics.csv")
        with path.open() as file:
            rows = [row for row in csv.DictReader(file) if row["train/loss"]]
        logged[name] = [float(row["train/loss"]) for row in rows]
    assert logged["yaml"] == logged["words"] == logged["one"] != logged["over"]
    words = ["fit", "--config=weighted.yaml", "--model.target_weights={gap: 1}"]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert "Unknown target gap in model.target_weights; learned is energy." in told


def test_a_run_that_is_refused_leaves_no_folder(folder, capsys):
    words = ["fit", "--config", "config.yaml"]
    assert main([*words, "--model.force_weight=1", "--model.targets=[spread]"]) == 2
    assert not list(Path("runs").rglob("*.*"))
    plateau = "--model.schedule=torch.optim.lr_scheduler.ReduceLROnPlateau"
    assert main([*words, plateau, "--trainer.limit_val_batches=0"]) == 2
    assert "there is no validation" in capsys.readouterr().err
    assert not list(Path("runs/clusters").glob("*"))
    # One that is refused later leaves what it has.
    bad = ["--model.lr=1e30", "--trainer.gradient_clip_val=null"]
    assert main([*words, *bad]) == 1
    assert "The loss is" in capsys.readouterr().err
    assert list(Path("runs/clusters/version_0").glob("*"))


def test_labels_of_another_kind_are_no_measure(folder, capsys):
    """Total energies of EMT say nothing of a model of relaxed energies."""
    for command in ("test", "validate"):
        words = [command, "--config", "config.yaml", "--ckpt_path", "emt-is2re"]
        assert main(words) == 2
        told = capsys.readouterr().err
        assert "emt-is2re cannot be evaluated on these data: kind of 'energy'" in told
        assert "relaxed in the checkpoint and potential in the data" in told


def test_other_data_modules_of_lightning_are_refused(folder, capsys, monkeypatch):
    source = "import pytorch_lightning as pl\nclass Plain(pl.LightningDataModule): pass"
    Path("plain.py").write_text(source)
    monkeypatch.syspath_prepend(folder)
    text = CONFIG.replace("tests.training.clusters.Clusters", "plain.Plain")
    Path("plain.yaml").write_text(text)
    for words in (["--config=config.yaml", "--data=plain.Plain"], ["-c=plain.yaml"]):
        assert main(["fit", *words]) == 2
        told = capsys.readouterr().err
        assert "data must be the path of a subclass of GraphDataModule." in told
        assert told.count("\n") == 1


def test_data_sets_are_known_without_a_path(molflt_process):
    process = molflt_process("fit", "--data", "RMD17", "--print_config")
    printed, errors = process.communicate(timeout=120)
    assert "class_path: molflt.data.RMD17" in printed, errors


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (
            "molflt.data.qm9.QM9",
            "module 'molflt.data.qm9' has no attribute 'QM9' "
            "(did you mean molflt.data.QM9?).",
        ),
        ("no_such.Clusters", "No module named 'no_such'."),
    ],
)
def test_a_class_that_is_not_where_its_path_says_is_told(folder, capsys, path, reason):
    text = CONFIG.replace("tests.training.clusters.Clusters", path)
    Path("lost.yaml").write_text(text)
    assert main(["fit", "--config", "lost.yaml"]) == 2
    told = capsys.readouterr().err
    assert told == f"molflt: lost.yaml: Option data: {reason}\n"


def test_a_monitor_that_does_not_exist_is_refused_before_training(folder, capsys):
    words = ["fit", "--config", "config.yaml", "--checkpoint.monitor", "val/foo"]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert "BestCheckpoint monitors 'val/foo', which is none of the metrics: " in told
    assert "val_near/energy/mae_eV" in told
    assert not list(folder.rglob("*.ckpt"))


def test_a_shipped_model_is_no_interrupted_run(folder, capsys):
    words = ["fit", "--config", "config.yaml", "--ckpt_path", "emt-forces"]
    assert main(words) == 2
    assert "emt-forces is none; configs/finetune.yaml" in capsys.readouterr().err


def test_training_in_double_precision_with_a_single_callback(folder, capsys):
    words = ["fit", "--config=config.yaml", "--trainer.max_epochs=1"]
    words += ["--trainer.precision=64-true", "--trainer.callbacks=DeviceStatsMonitor"]
    assert main(words) == 0, capsys.readouterr().err
    (last,) = Path("runs").rglob("last.ckpt")
    state = torch.load(last, weights_only=True)["state_dict"]
    assert any(value.dtype == torch.float64 for value in state.values())
    assert not any(value.dtype == torch.float32 for value in state.values())


def test_one_interrupted_process_stops_both_with_a_whole_state(folder, molflt_process):
    endless = CONFIG.replace("max_epochs: 4", "max_epochs: 100000")
    endless = endless.replace("lr: 0.003", "lr: 0.003\n  schedule: constant")
    Path("endless.yaml").write_text(endless)
    more = ["--trainer.devices=2", "--trainer.strategy=ddp"]
    process = molflt_process("fit", "--config=endless.yaml", *more)
    last = Path("runs/clusters/version_0/checkpoints/last.ckpt")
    for _ in range(1800):
        if last.exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)  # not to the process that it has started
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert f"molflt: Interrupted. Go on with --ckpt_path {last}." in errors
    assert torch.load(last, weights_only=True)["global_step"] > 0


@pytest.mark.slow
def test_processes_that_are_spawned_train_and_go_on(folder, molflt_process):
    more = ["--trainer.devices=2", "--trainer.strategy=ddp_spawn"]
    last = Path("runs/clusters/version_0/checkpoints/last.ckpt")
    for epochs, going_on in ((1, []), (2, [f"--ckpt_path={last}"])):
        words = ["fit", "--config=config.yaml", f"--trainer.max_epochs={epochs}"]
        process = molflt_process(*words, *more, *going_on)
        printed, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert "val_near" in printed
        path = last.parents[2] / f"version_{epochs - 1}" / "checkpoints" / "last.ckpt"
        state = torch.load(path, weights_only=True)
        assert state["position"] == {"epoch": epochs, "batch": 0}


MIDDLE = """  max_steps: 9
  callbacks:
  - class_path: ModelCheckpoint
    init_args: {dirpath: middle, filename: "{step}", every_n_train_steps: 7}
"""


@pytest.mark.slow
def test_two_processes_train_as_one_with_batches_twice_the_size(folder, molflt_process):
    """And go on within an epoch: seven steps, of five an epoch, and then two."""
    rate = "lr: 0.003\n  schedule: constant\n  warmup_steps: 1"
    config = CONFIG.replace("lr: 0.003", rate) + MIDDLE
    two = ["--data.batch_size=2", "--trainer.devices=2"]
    runs = {
        "one": ["--data.batch_size=4", "--trainer.devices=1"],
        "two": two,
        "resumed": [*two, "--ckpt_path=two/step=7.ckpt"],
    }
    found = {}
    for name, words in runs.items():
        # Also of one process, whose random start is then the same.
        Path(f"{name}.yaml").write_text(config.replace("middle", name))
        words += [f"--name={name}", "--trainer.strategy=ddp"]
        process = molflt_process("fit", f"--config={name}.yaml", *words)
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        path = f"runs/{name}/version_0/checkpoints/last.ckpt"
        found[name] = torch.load(path, weights_only=True)
        assert found[name]["global_step"] == 9
    for name, value in found["one"]["molflt"]["state"].items():
        two, resumed = (found[n]["molflt"]["state"][name] for n in ("two", "resumed"))
        torch.testing.assert_close(two, value, rtol=1e-5, atol=1e-5, msg=name)
        assert torch.equal(resumed, two), name


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_while_training_keeps_the_last_checkpoint(
    folder, capsys, monkeypatch
):
    assert main(["fit", "--config", "config.yaml", "--trainer.max_epochs=1"]) == 0
    (last,) = Path("runs").rglob("last.ckpt")
    before = last.read_bytes()
    folder_before = sorted(last.parent.iterdir())

    def full(path, mode):
        return open("/dev/full", mode)

    monkeypatch.setattr(molflt.checkpoint, "open", full, raising=False)
    capsys.readouterr()
    words = ["fit", "--config", "config.yaml", "--ckpt_path", str(last)]
    words += [f"--trainer.default_root_dir={last.parent}", "--trainer.logger=false"]
    assert main(words) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert last.read_bytes() == before
    assert not [path for path in folder.rglob(".*") if path.suffix == ".ckpt"]
    assert folder_before == sorted(last.parent.glob("*.ckpt"))
