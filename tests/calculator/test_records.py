"""What a calculator says of itself, and whose results it gives."""

import copy
import hashlib
import pickle
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from ase.build import molecule
from ase.db import connect

import molflt
from molflt.errors import UsageError
from tests.builders import model_of_kinds
from tests.calculator.systems import water


def test_a_database_says_which_checkpoints_its_numbers_are_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    digests = []
    for seed in (0, 1):
        molflt.save_model(model_of_kinds("potential", seed=seed), f"{seed}.ckpt")
        content = (tmp_path / f"{seed}.ckpt").read_bytes()
        digests.append(hashlib.sha256(content).hexdigest()[:16])
    assert digests[0] != digests[1]
    atoms = water()
    atoms.calc = molflt.FLTCalculator(["0.ckpt", "1.ckpt"], tags="none")
    energy = atoms.get_potential_energy()
    expected = {
        "checkpoints": [f"{i}.ckpt (SHA-256 {digests[i]})" for i in (0, 1)],
        "target": "e0",
        "tags": "none",
    }
    with connect("rows.db") as database:
        database.write(atoms)
    row = connect("rows.db").get(1)
    assert row.calculator_parameters == expected
    assert row.energy == energy
    for again in (copy.deepcopy, lambda calc: pickle.loads(pickle.dumps(calc))):
        calc = again(atoms.calc)
        calc.reset()
        assert calc.set() == {}
        assert calc.todict() == expected
        assert calc.get_potential_energy(atoms) == energy


def test_a_shipped_checkpoint_has_its_name_and_a_model_none():
    (words,) = molflt.FLTCalculator("emt-forces").todict()["checkpoints"]
    assert words.startswith("emt-forces (SHA-256 ")
    calc = molflt.FLTCalculator(model_of_kinds("property"))
    expected = {"checkpoints": ["a model in memory"], "target": None, "tags": "auto"}
    assert calc.todict() == expected


def test_two_threads_at_once_are_refused_and_copies_are_not(monkeypatch):
    calc = molflt.FLTCalculator(model_of_kinds("potential"))
    own = copy.deepcopy(calc)
    evaluate, entered, leave = calc.ensemble.evaluate, Event(), Event()

    def slowly(*args, **options):
        entered.set()
        assert leave.wait(60)
        return evaluate(*args, **options)

    one, other = molecule("H2O"), molecule("CH4")
    expected = own.get_potential_energy(one), own.get_potential_energy(other)
    monkeypatch.setattr(calc.ensemble, "evaluate", slowly)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(calc.get_potential_energy, one)
        try:
            assert entered.wait(60)
            for use in (calc.get_potential_energy, calc.calculate):
                with pytest.raises(UsageError, match=r"another thread.*copy\.deepcopy"):
                    use(other)
            copied = copy.deepcopy(own).get_potential_energy(other)
        finally:
            leave.set()
        assert (first.result(), copied) == expected
    assert calc.get_potential_energy(other) == expected[1]  # afterwards it is free
