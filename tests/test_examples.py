"""The examples and the script of the shipped models run, on the smallest of models."""

import importlib.util
import os
import re
import subprocess
import sys

import ase.io
import numpy as np
import pytest
from ase.build import bulk, molecule

import molflt
from molflt.calculator import FLTCalculator
from molflt.data.emt_generate import generate
from tests.test_calculator import make_model


@pytest.fixture
def script(repository):
    def load(path):
        spec = importlib.util.spec_from_file_location("script", repository / path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def test_dynamics_keeps_the_energy(script, tmp_path, capsys):
    """The drift is that of a symplectic integrator, and it is measured as promised."""
    example = script("examples/molecular_dynamics.py")
    molflt.save_model(make_model("potential"), tmp_path / "pes.ckpt")
    water = tmp_path / "water.xyz"
    ase.io.write(water, molecule("H2O"))
    words = [str(tmp_path / "pes.ckpt"), str(water), "--langevin-steps=5"]
    words += ["--trajectory", str(tmp_path / "steps.traj"), "--steps=60"]
    fluctuations = []
    for step in ("0.4", "0.2"):
        example.main([*words, "--time-step", step])
        printed = capsys.readouterr().out
        assert "drift of the energy" in printed
        fluctuations.append(float(re.search(r"\(rms\) (\S+) meV", printed)[1]))
        assert fluctuations[-1] < 5.0
    assert len(ase.io.read(tmp_path / "steps.traj", ":")) == 7
    times = np.linspace(0, 2, 50)
    slope, rest = example.drift(times, 3.0 + 0.25 * times)
    assert slope == pytest.approx(0.25)
    assert rest < 1e-9


def test_co_on_copper(script, tmp_path, capsys):
    example = script("examples/co_on_copper.py")
    molflt.save_model(make_model("relaxed"), tmp_path / "is2re.ckpt")
    out = tmp_path / "co.extxyz"
    example.main([str(tmp_path / "is2re.ckpt"), "-o", str(out)])
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 10
    frames = ase.io.read(out, ":")
    calculator = FLTCalculator(tmp_path / "is2re.ckpt")
    for row, atoms in zip(rows[1:9], frames, strict=True):
        site, _, *numbers = row.split()
        predicted, exact, difference = map(float, numbers)
        assert site == atoms.info["site"]
        value = calculator.get_property("energy", atoms)
        assert predicted == pytest.approx(value, abs=2e-3)
        assert difference == pytest.approx(predicted - exact, abs=2e-3)
        assert -10 < exact < 0
    flat, upright = (frames[k].positions[-2:] for k in (0, 4))
    assert abs(flat[0, 2] - flat[1, 2]) < 0.1
    assert abs(upright[0, 2] - upright[1, 2]) > 1.0
    molflt.save_model(make_model("potential"), tmp_path / "pes.ckpt")
    with pytest.raises(SystemExit):
        example.main([str(tmp_path / "pes.ckpt")])


def test_large_system_on_two_processes(repository, tmp_path):
    """As a user starts it; the result is that of the calculator, on one process."""
    model = make_model("potential")
    molflt.save_model(model, tmp_path / "forces.ckpt")
    atoms = bulk("Cu", "fcc", 3.8, cubic=True) * (4, 2, 2)
    atoms.rattle(0.1, seed=0)
    ase.io.write(tmp_path / "copper.extxyz", atoms)
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    words += ["--nproc-per-node=2", str(repository / "examples/large_system.py")]
    words += ["forces.ckpt", "copper.extxyz", "--out=found.extxyz"]
    done = subprocess.run(
        words,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("64 atoms on 2 processes: energy ")
    found = ase.io.read(tmp_path / "found.extxyz")
    atoms.calc = FLTCalculator(model)
    assert found.get_potential_energy() == pytest.approx(atoms.get_potential_energy())
    assert found.get_forces() == pytest.approx(atoms.get_forces(), abs=1e-5)


def test_shipped_models_are_trained_and_small(script, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    generate("work/frames", 4, frames=True, progress=False, num_val=1)
    words = ["--out", "out", "--work", "work", "--epochs=1", "--width=16", "--layers=1"]
    module = script("scripts/train_shipped.py")
    module.main([*words, "--root", "work/frames"])
    assert "MB" in capsys.readouterr().out
    is2re = FLTCalculator(tmp_path / "out" / "emt_is2re.ckpt")
    forces = FLTCalculator(tmp_path / "out" / "emt_forces.ckpt")
    assert "forces" not in is2re.implemented_properties
    assert "forces" in forces.implemented_properties
    assert forces.domain.periodic == {"T T F"}
