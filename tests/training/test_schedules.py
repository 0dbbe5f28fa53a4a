from itertools import pairwise

import pytest

from molflt.training.schedules import constant_after_warmup, warmup_cosine


def test_cosine_rises_falls_and_ends_at_zero():
    factors = [warmup_cosine(step, 10, 100) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == 1.0
    assert all(b > a for a, b in pairwise(factors[:10]))
    assert all(b < a for a, b in pairwise(factors[10:]))
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0.0, abs=1e-15)
    assert warmup_cosine(1000, 10, 100) == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("total", [1, 2, 5])
def test_short_schedules_still_train(total):
    factors = [warmup_cosine(step, 200, total) for step in range(total)]
    assert max(factors) == 1.0
    assert all(factor > 0 for factor in factors)


def test_constant_stays():
    assert constant_after_warmup(0, 4, 10) == 0.25
    assert constant_after_warmup(3, 4, 10) == constant_after_warmup(99, 4, 10) == 1.0
    assert constant_after_warmup(0, 0, 10) == 1.0
