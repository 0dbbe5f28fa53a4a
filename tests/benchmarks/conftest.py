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
