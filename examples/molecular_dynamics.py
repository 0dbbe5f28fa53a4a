"""Molecular dynamics with a checkpoint, through ASE, and how well it keeps the energy.

    python examples/molecular_dynamics.py MODEL.ckpt STRUCTURE --temperature 300
    python examples/molecular_dynamics.py emt-forces slab.extxyz    the shipped one

First Langevin dynamics brings the structure to the temperature, then it moves on by
itself (NVE, velocity Verlet). Printed is how the total energy of the second part
drifts (the slope of a straight line through it) and fluctuates about that line. A force
field whose forces are the gradient of its energy has a drift near zero that falls with
the square of the time step; where it does not, the precision (--float32), the time
step or the model is to blame.
"""

import argparse
from pathlib import Path

import ase.io
import numpy as np
import torch
from ase import Atoms, units
from ase.io.trajectory import Trajectory
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, ZeroRotation
from ase.md.verlet import VelocityVerlet

import molflt
from molflt.errors import MolfltError


def main(words: list[str] | None = None) -> None:
    """Run both parts and print what the energy does."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("checkpoint", help="of a model of a potential energy, or the name emt-forces")
    add("structure", help="any file ASE reads; its last frame is used")
    add("--temperature", type=float, default=300.0, help="in K")
    add("--time-step", type=float, default=0.5, help="in fs")
    add("--langevin-steps", type=int, default=2_000)
    add("--steps", type=int, default=20_000, help="steps at constant energy")
    add("--float32", action="store_true", help="single precision, for speed")
    add("--seed", type=int, default=0)
    add("--trajectory", type=Path, help="write every 10th step to this .traj")
    options = parser.parse_args(words)

    atoms = ase.io.read(options.structure)
    assert isinstance(atoms, Atoms)
    dtype = torch.float32 if options.float32 else torch.float64
    atoms.calc = molflt.FLTCalculator(options.checkpoint, dtype=dtype)
    if "forces" not in atoms.calc.implemented_properties:
        parser.error("the checkpoint has no potential energy, and so no forces")
    rng = np.random.default_rng(options.seed)
    heat(atoms, options, rng)
    energies, kelvins = move(atoms, options)

    times = np.arange(len(energies)) * options.time_step * 1e-3  # ps
    slope, fluctuation = drift(times, energies / len(atoms))
    print(f"{len(atoms)} atoms, {times[-1]:.3f} ps in steps of {options.time_step} fs")
    print(f"temperature {np.mean(kelvins):.0f} K")
    print(f"drift of the energy {1e3 * slope:.4f} meV/atom/ps")
    print(f"fluctuation (rms) {1e3 * fluctuation:.4f} meV/atom")


def heat(atoms: Atoms, options: argparse.Namespace, rng: np.random.Generator) -> None:
    """Give the atoms the temperature, with Langevin dynamics."""
    spread = np.sqrt(atoms.get_masses() * units.kB * options.temperature)
    atoms.set_momenta(rng.normal(size=(len(atoms), 3)) * spread[:, None])
    dynamics = Langevin(
        atoms,
        options.time_step * units.fs,
        temperature_K=options.temperature,
        friction=0.01 / units.fs,
        fixcm=False,  # which would sample another distribution
        rng=rng,
    )
    dynamics.run(options.langevin_steps)
    # Held atoms carry the system with them, and one atom has no motion but that.
    if not atoms.constraints and len(atoms) > 1:
        Stationary(atoms)
        if not atoms.pbc.any():
            ZeroRotation(atoms)


def move(atoms: Atoms, options: argparse.Namespace) -> tuple[np.ndarray, list[float]]:
    """Return total energies [eV] and temperatures [K] of each step without a bath."""
    energies: list[float] = []
    kelvins: list[float] = []

    def note() -> None:
        energies.append(atoms.get_total_energy())
        kelvins.append(atoms.get_temperature())

    dynamics = VelocityVerlet(atoms, options.time_step * units.fs)
    dynamics.attach(note)
    if options.trajectory is not None:
        with Trajectory(options.trajectory, "w", atoms) as trajectory:
            dynamics.attach(trajectory.write, interval=10)
            dynamics.run(options.steps)
    else:
        dynamics.run(options.steps)
    return np.array(energies), kelvins


def drift(times: np.ndarray, energies: np.ndarray) -> tuple[float, float]:
    """Return the slope of a line fitted to the energies, and the rms about it."""
    slope, start = np.polyfit(times, energies, 1)
    rest = energies - start - slope * times
    return float(slope), float(np.sqrt(np.mean(rest**2)))


if __name__ == "__main__":
    try:
        main()
    except (MolfltError, OSError) as error:  # what a user gave, and a sentence on it
        raise SystemExit(str(error)) from None
