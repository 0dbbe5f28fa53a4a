"""The scripts of benchmarks/ import each other by name, as scripts do."""

import sys

import pytest

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A folder of its own for result files."""
    import finished
    import record
    import speed

    folder = tmp_path / "results"
    monkeypatch.setattr(record, "RESULTS", folder)
    monkeypatch.setattr(speed, "RESULTS", folder)
    monkeypatch.setattr(finished, "FOLDER", folder / "accuracy")
    (folder / "accuracy").mkdir(parents=True)
    return folder / "accuracy"


@pytest.fixture
def few_clusters(monkeypatch):
    """QM9 and EMT are a few clusters, and our model is small."""
    import accuracy
    import tasks
    from adsorption import augmentation_of

    from tests.training.clusters import Clusters

    options = {"width": 16, "num_layers": 1, "num_near_heads": 2, "num_far_heads": 1}

    def clusters(run, roots):
        data = Clusters()
        data.setup()
        return data, {"clusters": len(data.train)} | augmentation_of(run.model)

    monkeypatch.setitem(accuracy.FLT, "FLT", options)
    monkeypatch.setattr(tasks, "qm9", clusters)
    monkeypatch.setattr(tasks, "emt", clusters)
