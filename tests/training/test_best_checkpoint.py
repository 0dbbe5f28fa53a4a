"""Which state is called the best, whatever the options leave out."""

import csv
import logging
from pathlib import Path

import pytest
import torch

from molflt.cli import main
from tests.running import CONFIG

DIVERGING = [
    "--model.lr=1.0",
    "--model.schedule=constant",
    "--model.warmup_steps=0",
    "--ema.decay=0",
    "--trainer.max_epochs=6",
]


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = CONFIG.splitlines()
    kept = [line for line in lines if "monitor" not in line and line != "checkpoint:"]
    Path("config.yaml").write_text("\n".join(kept))
    return ["fit", "--config", "config.yaml"]


def errors_by_step(metric):
    (path,) = Path("runs").rglob("metrics.csv")
    with path.open() as file:
        rows = [row for row in csv.DictReader(file) if row.get(metric)]
    return {int(row["step"]) + 1: float(row[metric]) for row in rows}


def errors_of(folder):
    """Return the errors of all states in a folder that were the best, by step."""
    found = {}
    for path in folder.rglob("best*.ckpt"):
        state = torch.load(path, weights_only=True)
        errors = state["molflt"]["origin"]["errors"]
        found[state["global_step"]] = errors["val_near/energy/mae_eV"]
    return found


def test_without_a_monitor_the_first_error_counts(config, capsys, caplog):
    caplog.set_level(logging.INFO)
    assert main([*config, *DIVERGING]) == 0, capsys.readouterr().err
    metric = "val_near/energy/mae_eV"
    assert f"Best by {metric}: " in caplog.text
    errors = errors_by_step(metric)
    best = min(errors, key=errors.get)
    assert best != max(errors)  # else the last one would do
    (path,) = Path("runs").rglob("best.ckpt")
    capsys.readouterr()
    words = ["validate", "--config", "config.yaml", "--ckpt_path", str(path)]
    assert main(words) == 0
    assert f"{errors[best]:.4g}" in capsys.readouterr().out


def test_several_of_the_best_are_several_files(config, capsys):
    words = [*config, *DIVERGING, "--checkpoint.save_top_k=3"]
    words.append("--checkpoint.monitor=val_near/energy/mae_eV")
    assert main(words) == 0, capsys.readouterr().err
    errors = errors_by_step("val_near/energy/mae_eV")
    best = sorted(errors, key=errors.get)[:3]
    found = {path.stem for path in Path("runs").rglob("best*.ckpt")}
    assert found == {f"best-step={step}" for step in best}


@pytest.mark.parametrize("kept", [1, 3])
def test_a_run_that_goes_on_keeps_the_best_so_far(config, capsys, kept):
    words = [*config, *DIVERGING, f"--checkpoint.save_top_k={kept}"]
    words.append("--checkpoint.monitor=val_near/energy/mae_eV")
    going_on = []
    for part, epochs in enumerate((4, 5, 6)):
        rest = [f"--name=parts{part}", f"--trainer.max_epochs={epochs}", *going_on]
        assert main([*words, *rest]) == 0, capsys.readouterr().err
        folder = Path(f"runs/parts{part}/version_0/checkpoints")
        going_on = [f"--ckpt_path={folder / 'last.ckpt'}"]
    assert main([*words, "--name=whole"]) == 0, capsys.readouterr().err
    expected = errors_of(Path("runs/whole"))
    assert errors_of(folder) == pytest.approx(expected)
    assert len(expected) == kept
    assert min(expected, key=expected.get) <= 20  # before the first interruption


def test_where_all_are_kept_the_best_is_still_that_of_all(config, capsys):
    words = [*config, *DIVERGING, "--checkpoint.save_top_k=-1"]
    words.append("--checkpoint.monitor=val_near/energy/mae_eV")
    going_on = []
    for name, epochs in (("first", 2), ("second", 3)):
        rest = [f"--name={name}", f"--trainer.max_epochs={epochs}", *going_on]
        assert main([*words, *rest]) == 0, capsys.readouterr().err
        last = Path(f"runs/{name}/version_0/checkpoints/last.ckpt")
        going_on = [f"--ckpt_path={last}"]
    errors = errors_of(last.parent) | errors_of(Path("runs/first/version_0"))
    best = min(errors, key=errors.get)
    assert best <= 10  # of the first part
    states = torch.load(last, weights_only=True)["callbacks"].values()
    (known,) = [state for state in states if state.get("best_k_models")]
    assert known["best_model_path"] == str(last.with_name(f"best-step={best}.ckpt"))
    assert Path(known["best_model_path"]).is_file()


def test_a_best_that_is_another_state_by_now_is_not_taken_along(config, capsys):
    words = [*config, *DIVERGING, "--checkpoint.monitor=val_near/energy/mae_eV"]
    assert main([*words, "--trainer.max_epochs=1"]) == 0, capsys.readouterr().err
    (best,) = Path("runs").rglob("best.ckpt")
    last = best.with_name("last.ckpt")
    best.write_bytes(last.read_bytes()[:-100])  # what cannot be read is no best, too
    more = ["--name=more", "--trainer.max_epochs=2", f"--ckpt_path={last}"]
    assert main([*words, *more]) == 0, capsys.readouterr().err
    (found,) = Path("runs/more").rglob("best.ckpt")
    assert torch.load(found, weights_only=True)["position"]["epoch"] == 2
