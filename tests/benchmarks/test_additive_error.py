"""The linear additive form against exact softmax."""

import json

import additive_error
import record
import torch


def test_more_frequencies_and_features_come_closer(results, monkeypatch):
    monkeypatch.setattr(additive_error, "FREQUENCIES", (4, 256))
    monkeypatch.setattr(additive_error, "FEATURES", (8, 512))
    monkeypatch.setattr(additive_error, "RESULTS", record.RESULTS)
    additive_error.main(["--atoms", "12", "--draws", "2"])
    assert torch.get_default_dtype() == torch.float32
    rows = json.loads((record.RESULTS / "additive_error.json").read_text())["rows"]
    error = {(row["frequencies"], row["features"]): row["error"] for row in rows}
    assert error[256, None] < 0.3 * error[4, None]
    assert error[256, 512] < 0.7 * error[256, 8]
    assert error[256, None] < error[256, 512]
    assert (record.RESULTS / "additive_error.svg").stat().st_size > 3000
