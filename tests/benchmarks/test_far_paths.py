import far_paths
import pytest
import torch


@pytest.mark.parametrize("way", ["waves", "nufft"])
def test_agreement_is_below_the_tolerance_and_not_zero(way):
    errors = far_paths.agreement(way, 1e-4, torch.float32)
    assert 0 < errors["scalars_over_norm"] < 1e-4
    assert 0 < errors["vectors_over_norm"] < 1e-4
    assert 0 < errors["forces_over_largest"] < 1e-3


def test_times_and_memory_are_of_the_way_asked_for():
    row = far_paths.cpu_seconds("nufft", 30, 2, periodic=True)
    assert row["cpu_seconds"] > 0
    assert row["predicted_seconds"] > 0
    layer = far_paths.in_a_process(50, backward=True)
    assert layer["peak_gib"] >= layer["peak_gib_before"] > 0
