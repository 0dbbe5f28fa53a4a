"""Training on energies and forces from the command line, to a calculator."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.db import connect

import molflt
from molflt.cli import main
from molflt.data import RMD17
from molflt.data.molecule import atoms_to_graph
from molflt.data.statistics import fit_statistics
from molflt.units import KCAL_PER_MOL
from tests.builders import water_frames
from tests.running import CONFIGS


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for part, count in (("train", 60), ("test", 7)):
        np.savez(tmp_path / f"rmd17_aspirin_{part}_01.npz", **water_frames(count))
    return tmp_path


def test_fit_test_and_calculate(folder, capsys):
    words = [
        "--config",
        str(CONFIGS / "rmd17.yaml"),
        "--data.init_args.root",
        str(folder),
        "--model.encoder.init_args.width=16",
        "--model.encoder.init_args.num_layers=1",
        "--trainer.accelerator=cpu",
    ]
    fit = [*words, "--trainer.max_epochs=2", "--trainer.log_every_n_steps=1"]
    assert main(["fit", *fit]) == 0, capsys.readouterr().err
    run = Path("runs/rmd17/version_0")
    header = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {
        "train/energy/force_mae_eV_per_A",
        "val/energy/force_mae_eV_per_A",
        "val/energy/mae_eV",
    } < set(header)
    capsys.readouterr()
    best = str(run / "checkpoints" / "best.ckpt")
    assert main(["test", *words, "--ckpt_path", best]) == 0
    assert "force MAE [eV/A]" in capsys.readouterr().out
    arrays = water_frames(7)
    atoms = Atoms(arrays["nuclear_charges"], arrays["coords"][0])
    ase.io.write("water.xyz", atoms)
    assert main(["predict", best, "water.xyz"]) == 0
    model = molflt.load(best)
    expected = model.energy_and_forces(atoms_to_graph(atoms))
    atoms.calc = molflt.FLTCalculator(best)
    np.testing.assert_allclose(atoms.get_forces(), expected.forces, atol=1e-6)
    # The network adds little to the mean yet; the offset keeps the total's digits.
    mean = water_frames(60)["energies"][:10].mean() * KCAL_PER_MOL
    assert atoms.get_potential_energy() == pytest.approx(mean, abs=1.0)
    assert expected.energy.item() != float(np.float32(expected.energy.item()))


def crystals(count):
    """Yield strained crystals with EMT's energies, forces and stress."""
    rng = np.random.default_rng(0)
    for seed in range(count):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, seed=seed)
        strain = np.eye(3) + rng.normal(0, 0.02, (3, 3))
        atoms.set_cell(atoms.cell @ strain, scale_atoms=True)
        atoms.calc = EMT()
        atoms.get_forces()
        atoms.get_stress()
        yield atoms


@pytest.mark.filterwarnings("ignore:Validating on")
def test_a_database_of_crystals_goes_on_from_the_shipped_force_field(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    with connect("my.db") as database:
        for atoms in crystals(10):
            database.write(atoms)
    words = ["fit", "--config", str(CONFIGS / "finetune.yaml")]
    words += ["--data.init_args.train=my.db", "--model.stress_weight=10"]
    words += ["--trainer.max_epochs=1", "--trainer.accelerator=cpu"]
    assert main(words) == 1
    assert "data.init_args.stress reads it" in capsys.readouterr().err
    words.append("--data.init_args.stress=true")
    assert main(words) == 0, capsys.readouterr().err
    assert "stress MAE" in capsys.readouterr().out
    (best,) = Path("runs").rglob("best.ckpt")
    (atoms,) = crystals(1)
    atoms.calc = molflt.FLTCalculator(best)
    assert np.isfinite(atoms.get_stress()).all()


@pytest.mark.filterwarnings("ignore:Validating on")
def test_fine_tunings_with_other_seeds_are_an_ensemble(tmp_path, monkeypatch):
    """They draw no weights: the order of the structures has to differ."""
    monkeypatch.chdir(tmp_path)
    ase.io.write("my.extxyz", crystals(10))
    words = ["fit", "--config", str(CONFIGS / "finetune.yaml")]
    words += ["--data.init_args.train=my.extxyz", "--trainer.accelerator=cpu"]
    words += ["--trainer.max_epochs=1"]
    for seed in (1, 2):
        assert main([*words, f"--seed_everything={seed}", f"--name={seed}"]) == 0
    paths = [f"runs/{seed}/version_0/checkpoints/last.ckpt" for seed in (1, 2)]
    (atoms,) = crystals(1)
    atoms.calc = molflt.FLTCalculator(paths)
    atoms.get_potential_energy()
    assert atoms.calc.get_property("energy_std") > 1e-6


def test_references_of_one_molecule_carry_its_mean(folder):
    """Counts never vary: the fit has no unique solution, but its sum has one."""
    data = RMD17(folder)
    data.setup()
    energies = torch.cat([graph.energy for graph in data.train]).double()
    statistics = fit_statistics(data.train, data.targets[0])
    counts = {1: 2, 8: 1}
    offset = sum(counts[z] * e for z, e in statistics.element_reference.items())
    assert offset == pytest.approx(float(energies.mean()), abs=1e-9)
    std = float(energies.std(correction=0))
    assert statistics.std == pytest.approx(std, rel=1e-9)
