import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import speed
from plan import Run, first_runs

PAINN, FLT = Run("qm9", "u0", "PaiNN"), Run("qm9", "gap", "FLT")


class Clock:
    """CPU time that steps of a model take."""

    def __init__(self, seconds, fits=None):
        self.now, self.seconds, self.fits = 0.0, seconds, fits or {}

    def process_time(self):
        return self.now

    def start(self, run):
        clock = self

        class Stepper:
            model = SimpleNamespace(fit_seconds=clock.fits.get(run.model, 0.0))

            def step(self, batch):
                clock.now += clock.seconds[run.model]

        return Stepper(), iter(int, 1)


@pytest.fixture
def measure(results, monkeypatch):
    """Time runs by a clock that is at hand."""

    def run(runs, seconds, fits=None):
        clock = Clock(seconds, fits)
        monkeypatch.setattr(speed.time, "process_time", clock.process_time)
        speed.measure(runs, clock.start)
        return json.loads((results.parent / f"{speed.NAME}.json").read_text())

    return run


def test_budget_buys_steps_at_the_measured_speed(measure):
    assert speed.steps_of(FLT) is None
    written = measure([PAINN, FLT], {"PaiNN": 0.2, "FLT": 0.1})
    assert speed.steps_of(FLT) == FLT.seconds / 0.1
    assert speed.steps_of(PAINN) == PAINN.seconds / 0.2
    assert written["commit"]
    assert speed.steps_of(Run("qm9", "u0", "SchNet")) is None


def test_a_later_time_is_translated_by_the_anchor(measure):
    measure([PAINN], {"PaiNN": 0.2})
    measure([FLT], {"PaiNN": 0.3, "FLT": 0.15})  # a machine 1.5 times slower
    assert speed.steps_of(FLT) == FLT.seconds / 0.1
    assert speed.steps_of(PAINN) == PAINN.seconds / 0.2


def test_variants_are_timed_beside_flt_itself(measure):
    measure([PAINN, FLT], {"PaiNN": 0.2, "FLT": 0.1})
    variant = replace(FLT, model="FLT 6+2")  # timed when the code has become faster
    measure([variant], {"PaiNN": 0.2, "FLT": 0.05, "FLT 6+2": 0.06})
    assert speed.steps_of(variant) == pytest.approx(FLT.seconds / 0.12, abs=1)
    assert speed.steps_of(FLT) == FLT.seconds / 0.1


def test_what_a_model_looks_at_first_is_part_of_its_budget(measure):
    measure([PAINN, FLT], {"PaiNN": 0.2, "FLT": 0.1}, {"FLT": 30.0})
    assert speed.steps_of(FLT) == (FLT.seconds - 30) / 0.1
    measure([FLT], {"PaiNN": 0.4, "FLT": 0.2}, {"FLT": 60.0})  # twice as slow
    assert speed.steps_of(FLT) == pytest.approx((FLT.seconds - 30) / 0.1)
    assert speed.steps_of(PAINN) == PAINN.seconds / 0.2


def test_a_time_of_other_options_does_not_count(measure, monkeypatch):
    measure([FLT], {"PaiNN": 0.2, "FLT": 0.1})
    monkeypatch.setattr(speed, "options_of", lambda model: {"width": 1})
    assert speed.steps_of(FLT) is None


def test_first_runs_cover_every_task_and_are_few():
    names = {speed.workload(run) for run in first_runs()}
    assert {name.split("-")[0] for name in names} == {"qm9", "emt", "rmd17"}
    assert "qm9-painn-b32" in names
    assert len(names) <= 40
