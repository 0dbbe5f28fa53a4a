import json
import multiprocessing

import pytest
from adsorption import augmentation_of
from finished import claim, claimed_by, path_of, read
from plan import Run, options_of

RUN = Run("qm9", "u0", "PaiNN")


def write(run, **changes):
    content = {**run.plain(), "options": {**options_of(run.model), **changes}}
    path_of(run).write_text(json.dumps(content))


def test_a_run_is_finished_when_its_file_is_there(results):
    assert read(RUN) is None
    write(RUN)
    assert read(RUN)["target"] == "u0"


def test_a_run_of_other_options_does_not_count(results):
    write(RUN, width=64)
    assert read(RUN) is None


def test_a_run_of_another_number_of_steps_does_not_count(results, monkeypatch):
    write(RUN)
    content = json.loads(path_of(RUN).read_text())
    path_of(RUN).write_text(json.dumps(content | {"steps": 100}))
    monkeypatch.setattr("finished.steps_of", lambda run: 100)
    assert read(RUN) is not None
    monkeypatch.setattr("finished.steps_of", lambda run: 101)
    assert read(RUN) is None


def test_an_adsorption_run_from_other_starts_does_not_count(results, monkeypatch):
    monkeypatch.setattr("finished.steps_of", lambda run: None)
    run = Run("emt", "energy", "FLT interaction")
    moves = augmentation_of(run.model)
    for recorded, known in ((moves, True), (moves | {"interpolation": 0.3}, False)):
        write(run)
        content = json.loads(path_of(run).read_text()) | {"data": recorded}
        path_of(run).write_text(json.dumps(content))
        assert (read(run) is not None) is known


def test_options_that_came_later_change_nothing(results, monkeypatch):
    write(RUN)
    monkeypatch.setattr(
        "finished.options_of", lambda model: options_of(model) | {"later": 1}
    )
    assert read(RUN) is not None


def test_records_from_before_density_features_are_of_models_without(
    results, monkeypatch
):
    run = Run("qm9", "u0", "FLT")
    monkeypatch.setattr("finished.steps_of", lambda run: None)
    write(run)
    record = json.loads(path_of(run).read_text())
    del record["options"]["density_elements"]
    path_of(run).write_text(json.dumps(record))
    now = options_of(run.model)
    for elements, known in (("HCNO", False), ("", True)):
        changed = now | {"density_elements": elements}
        monkeypatch.setattr("finished.options_of", lambda model, now=changed: now)
        assert (read(run) is not None) is known


@pytest.mark.parametrize(("value", "known"), [(0, True), (16, False)])
def test_options_that_are_gone_must_have_been_off(value, known, results, monkeypatch):
    write(RUN)
    record = json.loads(path_of(RUN).read_text())
    record["options"]["angular_channels"] = value
    path_of(RUN).write_text(json.dumps(record))
    assert (read(RUN) is not None) is known


def _claim(queue):
    with claim(RUN) as free:
        queue.put(free)


def _claim_and_die(ready):
    manager = claim(RUN)
    manager.__enter__()
    ready.set()
    import time

    time.sleep(60)


def in_another_process():
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_claim, args=(queue,))
    process.start()
    free = queue.get(timeout=10)
    process.join()
    return free


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_one_process_works_on_a_run(results):
    with claim(RUN) as free:
        assert free
        assert not in_another_process()
    assert in_another_process()
    assert list(results.iterdir()) == []


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_claim_of_a_killed_process_is_void(results):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=_claim_and_die, args=(ready,))
    process.start()
    assert ready.wait(10)
    assert claimed_by(RUN) == str(process.pid)
    process.kill()
    process.join()
    assert path_of(RUN, ".lock").exists()
    assert claimed_by(RUN) is None
    with claim(RUN) as free:
        assert free
