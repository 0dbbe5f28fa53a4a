from pathlib import Path

import pytest
import yaml

from molflt.cli import main
from molflt.commands.compare import axis_of, find_run, read_runs
from molflt.errors import InputError

HEAD = "epoch,step,lr,train/energy/mae_eV,val_id/energy/mae_eV,val_ood/energy/mae_eV\n"


def write_run(path, errors, lr=0.001, monitor="val_id/energy/mae_eV", head=HEAD):
    path.mkdir(parents=True)
    rows = [f"{k},{10 * k + 9},,,{e},{2 * e}" for k, e in enumerate(errors)]
    (path / "metrics.csv").write_text(head + "\n".join(rows) + "\n")
    config = {"name": path.parent.name, "model": {"lr": lr, "loss": "l1"}}
    config["checkpoint"] = {"monitor": monitor}
    (path / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(Path("runs/a/version_0"), [9.0, 9.0])
    write_run(Path("runs/a/version_2"), [0.5, 0.25, 0.3])
    write_run(Path("runs/a/version_10"), [0.9, 0.8, 0.7, 0.75])
    write_run(Path("runs/b[red]/version_0"), [0.6, 0.4], lr=0.01)
    return tmp_path


def test_runs_side_by_side(runs, capsys):
    words = ["compare", "runs/a/version_2", "runs/b[red]"]
    assert main(words) == 0
    printed = capsys.readouterr()
    lines = [line.split() for line in printed.out.splitlines()]
    rows = {(line[1], line[3]): line[5::2] for line in lines if len(line) == 13}
    assert rows["a/version_2", "val_id/energy/mae_eV"] == ["0.25", "20", "0.3", "30"]
    last = ["0.8", "20", "0.8", "20"]
    assert rows["b[red]/version_0", "val_ood/energy/mae_eV"] == last
    assert not any("train" in name for _, name in rows)
    differing = [line for line in printed.out.splitlines() if "model.lr" in line]
    assert "0.001" in differing[0]
    assert "0.01 " in differing[0]
    assert "model.loss" not in printed.out
    assert "val_id/energy/mae_eV of 2 runs is drawn in compare.png" in printed.err
    assert Path("compare.png").read_bytes().startswith(b"\x89PNG")


def test_the_latest_version_is_the_highest_number(runs):
    assert find_run(Path("runs/a")).name == "version_10"
    assert find_run(Path("runs/a/version_0/metrics.csv")).name == "version_0"
    (run,) = read_runs([Path("runs/a")])
    assert run.name == "a/version_10"
    assert run.options["model.lr"] == 0.001


def test_another_metric_and_another_file(runs):
    words = ["compare", "runs/a", "runs/a/version_2", "-o", "c.svg"]
    assert main([*words, "--metric", "val_ood/energy/mae_eV"]) == 0
    text = Path("c.svg").read_text()
    assert "val_ood, energy" in text
    assert "MAE [eV]" in text
    assert "a/version_10" in text
    assert "optimiser step" in text


def test_a_run_that_lacks_the_metric_is_named(runs, capsys):
    other = HEAD.replace("val_id", "val_x")
    write_run(Path("runs/c/version_0"), [1.0], head=other)
    assert main(["compare", "runs/a", "runs/c"]) == 0
    assert "Without val_id/energy/mae_eV: c/version_0" in capsys.readouterr().err


def test_errors_that_are_no_numbers_are_not_the_lowest(runs, capsys):
    """As of a split in which no structure had a label, or of a run that diverged."""
    nan = float("nan")
    write_run(Path("runs/d/version_0"), [0.9, nan, 0.5, nan])
    write_run(Path("runs/e/version_0"), [nan, nan])
    assert main(["compare", "runs/d", "runs/e"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    rows = {(line[1], line[3]): line[5::2] for line in lines if len(line) == 13}
    assert rows["d/version_0", "val_id/energy/mae_eV"] == ["0.5", "30", "nan", "40"]
    assert rows["e/version_0", "val_id/energy/mae_eV"] == ["nan", "10", "nan", "20"]


@pytest.mark.parametrize(
    ("metric", "label"),
    [
        ("val_id/energy/mae_eV", "MAE [eV]"),
        ("val_id/cv/mae_cal_per_mol_K", "MAE [cal/mol/K]"),
        ("val_id/alpha/mae_a0_3", "MAE [a0^3]"),
        ("val_id/e/mae_meV_per_atom", "MAE [meV/atom]"),
        ("val/energy/force_mae_eV_per_A", "force MAE [eV/Å]"),
        ("val/energy/stress_mae_eV_per_A3", "stress MAE [eV/Å³]"),
        ("val/all/mae_std", "MAE [standard deviations]"),
        ("val_id/energy/ewt_percent", "EwT [%]"),
        ("train/loss", "loss"),
        ("lr-AdamW", "lr-AdamW"),
    ],
)
def test_what_is_drawn_is_named_with_its_unit(runs, metric, label):
    head = HEAD.replace("val_id/energy/mae_eV", metric)
    write_run(Path("runs/f/version_0"), [0.5, 0.25], head=head)
    assert main(["compare", "runs/f", "--metric", metric, "-o", "c.svg"]) == 0
    quantity, unit = axis_of(metric)
    assert label == (f"{quantity} [{unit}]" if unit else quantity)
    assert f">{label}<" in Path("c.svg").read_text()


@pytest.mark.parametrize(
    ("words", "code", "phrase"),
    [
        (["runs/none"], 1, "No such run: runs/none"),
        (["runs"], 1, "has no metrics.csv"),
        (["runs/a", "runs/a/version_10"], 2, "named twice"),
        (["runs/a", "-o", "x.txt"], 2, "-o must end in .png"),
        (["runs/a", "--metric", "val/x"], 2, "known: val_id/energy/mae_eV"),
        (["runs/bad"], 1, "Cannot read runs/bad/config.yaml"),
        (["runs/empty"], 1, "has no metrics yet"),
    ],
)
def test_what_is_refused(runs, capsys, words, code, phrase):
    write_run(Path("runs/bad"), [1.0])
    Path("runs/bad/config.yaml").write_text("a: [1\n")
    Path("runs/empty").mkdir()
    Path("runs/empty/metrics.csv").write_text("epoch,step\n")
    assert main(["compare", *words]) == code
    printed = capsys.readouterr()
    assert phrase in printed.err
    assert "Traceback" not in printed.err
    assert not Path("compare.png").exists()
    with pytest.raises(InputError):
        find_run(Path("runs"))
