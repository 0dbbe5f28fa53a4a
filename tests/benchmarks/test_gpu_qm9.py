"""Training by the clock: the time is kept, the schedule follows it, results stay."""

import itertools
import json
from types import SimpleNamespace

import gpu_qm9
import pytest
import torch
from loop import Stepper

from tests.pretend_gpu import DEVICE, PretendGPU

ARGUMENTS = [
    *("--device", "cpu", "--workers", "0", "--seconds", "1", "--train", "20"),
    *("--model", "FLT", "--target", "u0", "--batch-size", "4"),
]


def test_a_run_takes_its_time_and_is_made_once(few_clusters, results, monkeypatch):
    rates = []
    set_rate = Stepper.set_rate

    def noted(stepper, *given):
        set_rate(stepper, *given)
        rates.append(stepper.optimizer.param_groups[0]["lr"])

    # The clock is set by hand: on a busy machine one step may take half a second.
    ticks = itertools.count(0.0, 0.05)
    monkeypatch.setattr(gpu_qm9, "time", SimpleNamespace(perf_counter=ticks.__next__))
    monkeypatch.setattr(Stepper, "set_rate", noted)
    gpu_qm9.main(ARGUMENTS)
    (path,) = (results.parent / "gpu_qm9").iterdir()
    content = json.loads(path.read_text())
    assert content["trained_seconds"] == pytest.approx(1.05)
    assert content["steps"] == len(rates) - 10 == 19
    assert content["molecules_per_second"] > 0
    assert set(content["errors"]) == {"val_near_mae", "val_far_mae", "test_near_mae"}
    assert content["card"] is None
    assert rates[-1] < 0.02 * max(rates) <= 0.02e-3, "a cosine that ends at 0"
    stamp = path.stat().st_mtime_ns
    gpu_qm9.main(ARGUMENTS)
    assert path.stat().st_mtime_ns == stamp


@pytest.mark.gpu
def test_on_a_card(few_clusters, results):
    gpu_qm9.main([*ARGUMENTS, "--device", "cuda"])
    (path,) = (results.parent / "gpu_qm9").iterdir()
    assert json.loads(path.read_text())["card"] == torch.cuda.get_device_name()


def test_on_a_pretended_card(few_clusters, results):
    with PretendGPU():
        gpu_qm9.main([*ARGUMENTS, "--device", DEVICE.type])
    (path,) = (results.parent / "gpu_qm9").iterdir()
    assert json.loads(path.read_text())["steps"] > 0
