"""Which state is called the best, whatever the options leave out."""

import csv
import logging
from pathlib import Path

import pytest

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
