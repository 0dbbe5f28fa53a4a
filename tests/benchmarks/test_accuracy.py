import json

import accuracy
import finished
import numpy as np
import plan as planning
import pytest
import tasks
from plan import Run

from molflt.data.qm9.splits import make_split
from tests.training.clusters import Clusters

SMALL = {"width": 16, "num_layers": 1, "num_near_heads": 2, "num_far_heads": 1}


@pytest.fixture
def small(results, few_clusters, monkeypatch):
    """A plan of two runs of ten steps on a few clusters."""
    monkeypatch.setattr(accuracy, "steps_of", lambda run: 10)
    monkeypatch.setattr(finished, "steps_of", lambda run: 10)
    monkeypatch.setattr(accuracy, "one_thread", lambda: None)

    runs = [
        Run("qm9", "energy", "FLT", seconds=1, batch_size=4, train=20),
        Run("emt", "energy", "FLT", seconds=1, batch_size=4, train=20),
    ]
    monkeypatch.setattr(accuracy, "plan", lambda read: runs)
    return runs


def test_runs_are_made_once(small, results, capsys):
    accuracy.main(["--task", "qm9"])
    path = results / f"{small[0].name}.json"
    assert [p.name for p in results.iterdir()] == [path.name]
    content = json.loads(path.read_text())
    assert set(content["val"]) == {"val_near_mae", "val_far_mae"}
    assert set(content["test"]) == {"test_near_mae"}
    assert content["parameters"] > 0
    assert content["steps"] == 10
    assert content["molecules_per_second"] == 40
    assert content["options"]["width"] == 16
    assert content["commit"]
    stamp = path.stat().st_mtime_ns
    accuracy.main([])
    assert path.stat().st_mtime_ns == stamp
    other = json.loads((results / f"{small[1].name}.json").read_text())
    assert set(other["val"]) >= {"val_near_mae", "val_near_ewt"}


def test_density_features_are_fitted_to_the_training_set(small, monkeypatch):
    options = {**SMALL, "density_elements": "HCO", "density_order": 0}
    monkeypatch.setitem(accuracy.FLT, "FLT", options)
    task = tasks.open_task(small[0], tasks.Roots())
    model = accuracy.build(small[0], task)
    assert model.encoder.embedding.density.shift.any()
    assert model.fit_seconds > 0


def test_list_says_what_is_done(small, results, capsys):
    accuracy.main(["--list"])
    assert capsys.readouterr().out.count("open") == 2
    accuracy.main(["--task", "emt"])
    capsys.readouterr()
    accuracy.main(["--list"])
    out = capsys.readouterr().out
    assert out.count("open") == 1
    assert "val_near_mae" in out


def test_a_failing_run_leaves_nothing_and_stops_no_other(
    small, results, monkeypatch, capsys
):
    build = accuracy.build

    def fail(run, task):
        if run.task == "qm9":
            raise RuntimeError("no such luck")
        return build(run, task)

    monkeypatch.setattr(accuracy, "build", fail)
    with pytest.raises(SystemExit, match="failed: qm9-energy-flt"):
        accuracy.main([])
    assert [p.name for p in results.iterdir()] == [f"{small[1].name}.json"]


def test_a_run_that_is_not_read_again_is_not_made_again(small, monkeypatch):
    monkeypatch.setattr(finished, "augmentation_of", lambda model: {"noise_A": 7.0})
    with pytest.raises(SystemExit, match="failed: emt-energy-flt"):
        accuracy.main([])


def test_runs_wait_until_their_steps_are_timed(small, results, monkeypatch, capsys):
    monkeypatch.setattr(accuracy, "steps_of", lambda run: None)
    with pytest.raises(SystemExit, match="failed: qm9-energy-flt"):
        accuracy.main(["--task", "qm9"])
    assert "waits for --time" in capsys.readouterr().out
    assert list(results.iterdir()) == []


def test_only_models_without_a_time_are_timed(small, monkeypatch, capsys):
    timed = []
    monkeypatch.setattr(accuracy, "first_runs", list)
    monkeypatch.setattr(accuracy, "measure", lambda runs, start: timed.extend(runs))
    accuracy.main(["--time"])
    assert timed == []
    assert "--time all" in capsys.readouterr().out
    accuracy.main(["--time", "all"])
    assert timed == small
    timed.clear()
    steps = {"qm9": 10, "emt": None}
    monkeypatch.setattr(accuracy, "steps_of", lambda run: steps[run.task])
    accuracy.main(["--time"])
    assert timed == small[1:]


def test_trial_writes_nothing(small, results):
    accuracy.main(["--trial", "1", "--task", "qm9"])
    assert list(results.iterdir()) == []


def test_energies_and_forces_are_trained_together(monkeypatch):
    data = Clusters()
    data.setup()
    monkeypatch.setattr(tasks, "rmd17", lambda run, roots: (data, {}))
    run = Run("rmd17", "energy", "FLT", seconds=1, batch_size=4, train=20)
    task = tasks.open_task(run, tasks.Roots())
    encoder = accuracy.FLTEncoder(**SMALL)
    model = accuracy.FLTModel(encoder, data.targets)
    model.set_statistics("energy", task.statistics.plain())
    batch = next(iter(data.train_dataloader()))
    task.loss(model, batch).backward()
    assert encoder.embedding.species.weight.grad.abs().sum() > 0
    found = tasks.evaluate(model, task.errors, ["val"], [data.val_dataloader()[0]])
    assert set(found) == {"val_mae", "val_force_mae"}


@pytest.mark.parametrize("total", [124_742, 130_831])
def test_test_molecules_are_those_committed_and_never_trained_on(total):
    largest = max(planning.CURVE)
    split = make_split("random:0", total, largest, tasks.QM9_VAL, tasks.QM9_TEST)
    tasks.check_test_indices(split.test, total)
    assert len(np.unique(split.test)) == tasks.QM9_TEST
    assert not np.intersect1d(split.test, split.train).size
    assert not np.intersect1d(split.test, split.val).size
    with pytest.raises(SystemExit, match="are not those"):
        tasks.check_test_indices(split.test[::-1], total)
    with pytest.raises(SystemExit, match="has no test molecules"):
        tasks.check_test_indices(split.test, total + 1)
