"""The script that finds slow lengths of transforms."""

import fft_lengths
import torch


def test_lengths_are_those_of_fine_grids():
    found = fft_lengths.lengths()
    assert found[32] == 25  # 26 would need 32.5 points
    assert all(length >= 1.25 * count for length, count in found.items())


def test_a_length_is_slow_beside_any_longer_one():
    assert fft_lengths.slow({16: 1.0, 18: 5.0, 20: 2.9, 24: 2.0}) == [18]


def test_transforms_are_timed_in_both_types():
    for dtype in (torch.float32, torch.float64):
        assert fft_lengths.seconds(9, dtype) > 0
