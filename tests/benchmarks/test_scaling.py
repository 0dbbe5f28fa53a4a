"""Scaling: systems of the right size, limits that hold, runs that resume."""

import argparse
import json
import subprocess
import sys
import time

import numpy as np
import pytest
import record
import scaling
import scaling_figure
import tables
import torch
from efa import EuclideanFastAttention
from scaling_models import MODELS
from systems import water

OURS = {name for name in MODELS if name.startswith("FLT")} - {"FLT linear"}
"""Without the model that changes what all others are streamed from."""


@pytest.fixture
def options():
    return argparse.Namespace(
        **{"max": 300, "memory": 20.0, "seconds": 60.0, "threads": 1, "box": None},
        **{"modes": ["energy"], "device": "cpu", "precision": "float32"},
    )


@pytest.mark.parametrize("atoms", [3, 99, 3000])
def test_water_has_its_density_and_whole_molecules(atoms):
    z, pos, cell = water(atoms)
    assert (len(z), pos.shape, cell) == (atoms, (atoms, 3), None)
    bonds = np.linalg.norm(pos.reshape(-1, 3, 3)[:, 1:] - pos[::3][:, None], axis=2)
    np.testing.assert_allclose(bonds, 0.97, atol=0.01)
    if atoms > 1000:
        volume = np.prod(np.ptp(pos[::3], axis=0) + 3.1)
        assert atoms / volume == pytest.approx(0.1, rel=0.1)


def test_a_box_is_cut_or_repeated(tmp_path):
    z, pos, _ = water(81)
    cell = 9.4 * np.eye(3)
    np.savez(tmp_path / "box.npz", z=z, pos=pos, cell=cell)
    cut = water(30, tmp_path / "box.npz")
    assert (len(cut.z), cut.cell) == (30, None)
    np.testing.assert_array_equal(cut.z[:3], [8, 1, 1])
    whole = water(160, tmp_path / "box.npz")
    assert len(whole.z) == 162
    np.testing.assert_allclose(whole.cell, np.diag([18.8, 9.4, 9.4]))
    np.testing.assert_allclose(whole.pos[81:] - whole.pos[:81], cell[[0] * 81])


@pytest.mark.parametrize(
    ("seconds", "again"),
    [([], True), ([40], True), ([50], False), ([20] * 2, True), ([20] * 3, False)],
)
def test_long_evaluations_count_by_the_fastest_of_up_to_three(seconds, again):
    assert scaling.is_repeated(seconds) == again


def test_short_evaluations_fill_some_seconds():
    assert scaling.is_repeated([0.5] * 4)
    assert not scaling.is_repeated([0.5] * 5)


def test_a_run_is_recorded_and_not_repeated(results, options, monkeypatch, capsys):
    options.max = 100
    scaling.run_sizes("Performer", "energy", options)
    path = record.RESULTS / "scaling" / "performer-energy-100.json"
    result = json.loads(path.read_text())
    assert result["status"] == "done"
    assert result["atoms"] == 99
    assert result["peak_bytes"] > result["bytes_before"] > 1e8
    assert 0 < result["seconds"] < 60
    monkeypatch.setattr(scaling, "run_one", lambda *_: pytest.fail("repeated"))
    scaling.run_sizes("Performer", "energy", options)


@pytest.mark.parametrize("mode", scaling.MODES)
@pytest.mark.parametrize("name", sorted(OURS))
def test_our_models_are_measured_with_and_without_forces(name, mode, options):
    found = scaling.measure(name, mode, 60, options)
    assert found["atoms"] == 60
    assert found["seconds"] > 0
    assert found["card"] is None


def test_kinds_of_devices_and_numbers_have_folders_of_their_own(results, options):
    assert scaling.folder(options) == "scaling"
    options.max, options.precision = 100, "bf16"
    scaling.run_sizes("softmax with bias", "energy", options)
    path = record.RESULTS / "scaling_bf16" / "softmax-with-bias-energy-100.json"
    assert json.loads(path.read_text())["status"] == "done"
    options.device = "cuda"
    assert scaling.folder(options) == "scaling_cuda_bf16"


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_card_is_measured_by_its_own_memory(options, precision):
    options.device, options.precision = "cuda", precision
    found = scaling.measure("FLT near and far", "forces", 3_000, options)
    assert found["peak_bytes"] > found["bytes_before"] > 0
    assert found["card"] == torch.cuda.get_device_name()


def test_larger_sizes_are_left_out_after_a_failure(results, options, monkeypatch):
    asked = []

    def fails(name, mode, atoms, options):
        asked.append(atoms)
        status = "done" if atoms < 1000 else "memory"
        return {"model": name, "mode": mode, "status": status, "asked_atoms": atoms}

    monkeypatch.setattr(scaling, "run_one", fails)
    options.max = 10**6
    scaling.run_sizes("ET", "forces", options)
    assert asked == [100, 300, 1000]


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("x = bytearray(10**9); import time; time.sleep(30)", "memory"),
        ("import time; time.sleep(30)", "time"),
        ("pass", "done"),
    ],
)
def test_limits_end_a_process(program, status):
    start = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        seconds = 1.0 if status == "time" else 20.0
        assert scaling.watch(process, 5e8, seconds) == status
    assert time.monotonic() - start < 25


LIMITS = {"memory_gib": 20.0, "seconds_limit": 300.0}


def results_of(power):
    sizes = (10_000, 100_000, 1_000_000)
    return [
        {
            "model": "one",
            "mode": "energy",
            "status": "done",
            "asked_atoms": n,
            "atoms": n,
            "seconds": 1e-4 * n**power,
            "peak_bytes": 5000 * n + 3e8,
            "bytes_before": 3e8,
            "limits": LIMITS,
            "threads": 2,
            "machine": {"processor": "some", "cores": 2},
            "commit": "abc",
        }
        for n in sizes
    ]


def test_growth_is_the_power_of_the_numbers_put_in():
    failed = {"status": "memory", "asked_atoms": 3_000_000, "limits": LIMITS}
    runs = {("one", "energy"): [*results_of(1.3), failed]}
    (row,) = scaling_figure.growth(runs)
    assert row["time_power"] == pytest.approx(1.3)
    assert row["memory_power"] == pytest.approx(1.0)
    assert row["bytes_per_atom"] == pytest.approx([5000] * 3)
    (shown,) = scaling_figure.rows(runs)
    assert (shown["ended_by"], shown["ended_at"]) == ("memory", 3_000_000)
    assert shown["atoms"] == 1_000_000


def test_runs_of_two_machines_are_not_shown_side_by_side():
    runs = {("one", "energy"): results_of(1.0), ("two", "energy"): results_of(1.0)}
    runs["two", "energy"][1]["machine"] = {"processor": "other", "cores": 2}
    with pytest.raises(SystemExit, match="differ in machine"):
        scaling_figure.conditions(runs)


def test_figure_and_table_are_written(results):
    folder = record.RESULTS / "scaling"
    folder.mkdir()
    for index, result in enumerate(results_of(1.0)):
        (folder / f"{index}.json").write_text(json.dumps(result))
    scaling_figure.main("scaling")
    assert (record.RESULTS / "scaling.svg").stat().st_size > 5000
    table = tables.scaling(json.loads((record.RESULTS / "scaling.json").read_text()))
    row = "| one | energy | 1,000,000 | 100 | 0.100 | 4.94 | n^1.00 |  |"
    assert row in table
    assert "on 2 of 2 cores (some), at most 20 GiB" in table


def test_closed_frequencies_average_to_sinc():
    """What makes the layer invariant: the mean of cos(w u.r) is sin(w r) / (w r)."""
    layer = EuclideanFastAttention(8, query_width=4, degree=31)
    r = torch.tensor([3.0, -4.0, 5.0])
    cosines = torch.cos(torch.outer(layer.directions @ r, layer.frequencies))
    mean = layer.weights @ cosines
    expected = torch.sinc(layer.frequencies * r.norm() / torch.pi)
    torch.testing.assert_close(mean, expected, rtol=0, atol=1e-5)


def test_closed_frequencies_do_not_depend_on_the_turn_of_a_system():
    layer = EuclideanFastAttention(8, query_width=4, degree=31)
    x, pos = torch.randn(6, 8), 3 * torch.randn(6, 3)
    turn = torch.linalg.qr(torch.randn(3, 3))[0]
    torch.testing.assert_close(
        layer(x, pos), layer(x, pos @ turn), rtol=1e-4, atol=1e-4
    )
