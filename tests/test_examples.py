"""The examples and the script of the shipped models run, on the smallest of models."""

import re
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

import molflt
from molflt.calculator import FLTCalculator
from molflt.data.emt.generate import SPLITS, generate
from molflt.pretrained import NAMES
from tests.builders import model_of_kinds
from tests.data.qm9_files import upstream
from tests.running import ROOT, python, script


def test_dynamics_keeps_the_energy(tmp_path, capsys):
    """The drift is that of a symplectic integrator, and it is measured as promised."""
    example = script("examples/molecular_dynamics.py")
    molflt.save_model(model_of_kinds("potential"), tmp_path / "pes.ckpt")
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


def test_a_single_atom_goes_its_way(tmp_path, capsys):
    """Without the motion of its centre of mass it would have none to be scaled."""
    molflt.save_model(model_of_kinds("potential"), tmp_path / "pes.ckpt")
    ase.io.write(tmp_path / "atom.xyz", Atoms("O"))
    words = [str(tmp_path / "pes.ckpt"), str(tmp_path / "atom.xyz"), "--steps=5"]
    script("examples/molecular_dynamics.py").main([*words, "--langevin-steps=5"])
    kelvin = re.search(r"temperature (\S+) K", capsys.readouterr().out)[1]
    assert float(kelvin) > 0


def test_dynamics_needs_a_model_of_forces(tmp_path, capsys):
    ase.io.write(tmp_path / "slab.xyz", bulk("Cu"))
    example = script("examples/molecular_dynamics.py")
    with pytest.raises(SystemExit):
        example.main(["emt-is2re", str(tmp_path / "slab.xyz")])
    assert "error: the checkpoint has no potential energy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("molecular_dynamics.py", "none.ckpt", "water.xyz"),
            "none.ckpt does not",
        ),
        (("molecular_dynamics.py", "emt-forces", "none.xyz"), "none.xyz"),
        (("co_on_copper.py", "none.ckpt"), "none.ckpt does not"),
    ],
)
def test_what_is_not_there_is_one_sentence(words, sentence, tmp_path):
    ase.io.write(tmp_path / "water.xyz", molecule("H2O"))
    done = python(ROOT / "examples" / words[0], *words[1:], cwd=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert sentence in line


def test_co_on_copper(tmp_path, capsys):
    example = script("examples/co_on_copper.py")
    molflt.save_model(model_of_kinds("relaxed"), tmp_path / "is2re.ckpt")
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
    molflt.save_model(model_of_kinds("potential"), tmp_path / "pes.ckpt")
    with pytest.raises(SystemExit):
        example.main([str(tmp_path / "pes.ckpt")])


def test_large_system_on_two_processes(repository, tmp_path):
    """As a user starts it; the result is that of the calculator, on one process."""
    model = model_of_kinds("potential")
    molflt.save_model(model, tmp_path / "forces.ckpt")
    atoms = fcc111("Cu", (4, 4, 4), vacuum=6.0)  # its tags change the energy
    atoms.info = {}  # sites, which a file cannot hold
    atoms.rattle(0.1, seed=0)
    ase.io.write(tmp_path / "copper.extxyz", atoms)
    words = ["-m", "torch.distributed.run", "--standalone"]
    words += ["--nproc-per-node=2", str(repository / "examples/large_system.py")]
    words += ["forces.ckpt", "copper.extxyz", "--out=found.extxyz"]
    done = python(*words, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("64 atoms on 2 processes: energy ")
    found = ase.io.read(tmp_path / "found.extxyz")
    atoms.calc = FLTCalculator(model)
    assert found.get_potential_energy() == pytest.approx(atoms.get_potential_energy())
    assert found.get_forces() == pytest.approx(atoms.get_forces(), abs=1e-5)


def test_large_system_refuses_what_the_calculator_refuses(tmp_path):
    ase.io.write(tmp_path / "iron.extxyz", bulk("Fe"))
    example = str(ROOT / "examples/large_system.py")
    words = ["-m", "torch.distributed.run", "--standalone", example, "emt-forces"]
    done = python(*words, "iron.extxyz", cwd=tmp_path, timeout=300)
    assert done.returncode != 0
    assert "iron.extxyz has Fe, which the model was not trained on" in done.stderr


def test_shipped_models_are_trained_with_their_origin(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generate("frames", 4, frames=True, progress=False, num_val=1)
    module = script("scripts/train_shipped.py")
    encoder = "--model.encoder.init_args"
    small = [f"{encoder}.width=16", f"{encoder}.num_layers=1", "--trainer.max_epochs=1"]
    upstream(tmp_path / "molecules")
    few = [f"--data.init_args.num_{part}=3" for part in ("train", "val", "test")]
    few.append(f"{encoder}.density_components=8")
    for name, root, more, splits in (
        ("qm9-properties", "molecules", few, {"val/u0", "val_mmff/gap"}),
        *(
            (name, "frames", [], {f"{split}/energy" for split in SPLITS[1:]})
            for name in ("emt-is2re", "emt-forces")
        ),
    ):
        words = [name, "--out", "out", "--root", root, "--work", "work", *small, *more]
        module.main(words)
        model = molflt.load(tmp_path / "out" / f"{name}.ckpt")
        assert model.origin["name"] == name
        assert model.origin["training"]["steps"] > 0
        assert f"train_shipped.py {name}" in model.origin["command"]
        assert {f"{split}/mae_eV" for split in splits} <= set(model.origin["errors"])
    assert {path.stem for path in Path("out").iterdir()} == set(NAMES)
    calculator = FLTCalculator(model)
    assert "forces" in calculator.implemented_properties
    assert calculator.domain.periodic == {"F F F", "T T F", "T T T"}
    assert not model.encoder.embedding.tag.weight.any()  # frames have no tags
