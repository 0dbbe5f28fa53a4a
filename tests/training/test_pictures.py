"""What a run leaves behind to look at."""

import csv
from pathlib import Path

import numpy as np
import pytest

import molflt
from molflt.analysis import read_metrics
from molflt.cli import main
from molflt.errors import InputError
from molflt.structures import predict_graphs
from molflt.targets import TargetSpec
from molflt.training import pictures
from molflt.training.metrics import error_name
from molflt.training.pictures import RunPictures
from tests.running import CONFIG
from tests.training.clusters import Clusters


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(CONFIG.replace("max_epochs: 4", "max_epochs: 2"))
    return tmp_path


def test_pictures_and_their_data(folder):
    assert main(["fit", "--config", "config.yaml"]) == 0
    run = Path("runs/clusters/version_0")
    for name in ("learning_curve_energy", "parity_energy"):
        assert (run / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    with open(run / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    data = Clusters()
    data.setup()
    for split, dataset in data.val.items():
        mine = [row for row in rows if row["split"] == split]
        assert [row["sid"] for row in mine] == [
            str(dataset[k].sid) for k in range(len(dataset))
        ]
        labels, predictions = (
            np.array([float(row[key]) for row in mine])
            for key in ("label", "prediction")
        )
        # The averaged weights of the end: those of the last checkpoint and metrics.
        model = molflt.load(run / "checkpoints" / "last.ckpt")
        expected = predict_graphs(model, list(dataset))["energy"]
        np.testing.assert_allclose(predictions, expected, rtol=1e-4, atol=1e-5)
        steps, values = read_metrics(run)[f"{split}/energy/mae_eV"]
        assert len(steps) == 2
        np.testing.assert_allclose(
            np.abs(predictions - labels).mean(), values[-1], rtol=1e-3
        )


def test_tensorboard_has_the_figures(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert main(["fit", "--config", "config.yaml"]) == 0
    events = EventAccumulator("runs/clusters/version_0")
    events.Reload()
    tags = events.Tags()
    assert {"learning_curve_energy", "parity_energy"} <= set(tags["images"])
    assert "val_near/energy/mae_eV" in tags["scalars"]


def test_large_splits_are_thinned_evenly():
    data = Clusters()
    data.setup()
    model = molflt.FLTModel(
        molflt.FLTEncoder(width=16, num_layers=1), data.targets
    ).eval()
    sizes = {split: len(dataset) for split, dataset in data.val.items()}
    rows = list(RunPictures(most=3)._predictions(model, data, sizes))
    for split, dataset in data.val.items():
        kept = [row.sid for row in rows if row.split == split]
        assert len(kept) == 3 < len(dataset)
        assert kept[0] == str(dataset[0].sid)
        assert kept[-1] == str(dataset[len(dataset) - 1].sid)


# A share, as "1" is one batch or all of them by the order in which Lightning's union of
# int and float happens to be kept in a process.
@pytest.mark.parametrize(("limit", "kept"), [("0.5", 4), ("1.0", 8)])
def test_structures_are_those_that_validation_saw(folder, limit, kept):
    """Batches of four of 6 and 7 structures; the errors are those of the last line."""
    words = ["fit", "--config", "config.yaml"]
    assert main([*words, f"--trainer.limit_val_batches={limit}"]) == 0
    run = Path("runs/clusters/version_0")
    with open(run / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for split, first, size in (("val_near", 100, 6), ("val_far", 200, 7)):
        mine = [row for row in rows if row["split"] == split]
        seen = [f"c{first + k}" for k in range(min(kept, size))]
        assert [row["sid"] for row in mine] == seen
        error = [float(row["prediction"]) - float(row["label"]) for row in mine]
        _, values = read_metrics(run)[f"{split}/energy/mae_eV"]
        np.testing.assert_allclose(np.abs(error).mean(), values[-1], rtol=1e-3)


def test_a_picture_that_fails_does_not_fail_the_run(folder, monkeypatch, capsys):
    def full(figure, path):
        raise InputError("Cannot write: No space left on device.")

    monkeypatch.setattr("molflt.training.pictures.save", full)
    assert main(["fit", "--config", "config.yaml"]) == 0
    assert "No pictures of this run: Cannot write" in capsys.readouterr().err
    assert Path("runs/clusters/version_0/checkpoints/last.ckpt").is_file()


def test_forces_are_drawn_in_the_unit_of_their_energy(tmp_path):
    spec = TargetSpec("energy", unit="kcal/mol")
    names = [f"val/{error_name(spec, *kind)}" for kind in ((), ("force", "A"))]
    head = ",".join(["step", *names])
    (tmp_path / "metrics.csv").write_text(f"{head}\n3,0.5,0.25\n")
    figure = pictures._learning(tmp_path, spec)
    labels = [ax.get_ylabel() for ax in figure.axes]
    assert [label.endswith("[kcal/mol/Å]") for label in labels] == [False, True]


def test_without_a_log_nothing_is_written(folder):
    words = ["fit", "--config", "config.yaml", "--trainer.logger=false"]
    assert main([*words, "--trainer.enable_checkpointing=false"]) == 0
    assert [path.name for path in folder.iterdir()] == ["config.yaml"]
