"""Frames with EMT's energies and forces, for force fields: near and far from minima.

A relaxation alone shows a force field slabs with an adsorbate on the way downhill. What
it is asked later also includes atoms pushed together, the clean slab, the molecule by
itself and the metal in bulk, so these are drawn for every system. Adsorbates pressed
against the slab matter most: a model that was never told how hard atoms repel each
other relaxes into holes that EMT does not have.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import ase
import numpy as np
from ase.build import bulk
from numpy.random import Generator

from molflt.data.emt.potential import PairEMT
from molflt.data.emt.systems import LATTICE, on_grid

RATTLED = 1  # rattled copies of frames of the relaxation
PRESSED = 4  # copies with the adsorbate pressed against the slab
SCATTER = (0.05, 0.4)  # Å, range of the deviation of a pressed adsorbate's coordinates
PRESS = 1.0  # Å; it is lowered by up to this much
MAX_FORCE = 60.0  # eV/Å on an atom; what is pressed harder is left out
RATTLE = (0.01, 0.1)  # Å, range of the standard deviation of each coordinate
RATTLE_MOLECULE = (0.01, 0.08)  # Å; bonds are stiffer than metals
STRAIN = 0.03  # standard deviation of the entries of a crystal's strain
CUBES = 2  # conventional cells along each axis of a crystal: 32 atoms


@dataclass(frozen=True)
class Frame:
    """Atoms where they are, EMT's energy [eV] and forces (n, 3) [eV/Å].

    Forces are those without constraints, and `atoms` holds none of its atoms: every
    label is true. Nor has it tags, of which a potential energy does not depend.
    """

    name: str
    atoms: ase.Atoms
    energy: float
    forces: np.ndarray


def frame_of(name: str, atoms: ase.Atoms) -> Frame:
    """Return the frame of atoms with a calculator, or label them with EMT."""
    bare = ase.Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    calculator = atoms.calc or PairEMT()
    energy = calculator.get_property("energy", atoms)
    forces = calculator.get_property("forces", atoms)
    return Frame(name, bare, energy, forces)


def further_frames(
    relaxation: tuple[Frame, ...], slab: ase.Atoms, gas: ase.Atoms, rng: Generator
) -> Iterator[Frame]:
    """Yield frames that a relaxation does not pass.

    Args:
        relaxation: Frames of the relaxation of slab and adsorbate.
        slab: The clean slab, relaxed.
        gas: The isolated adsorbate, relaxed.
        rng: Source of everything random.
    """
    starts = [frame.atoms for frame in relaxation]
    for number in range(RATTLED):
        start = starts[int(rng.integers(len(starts)))]
        yield frame_of(f"rattled{number}", rattled(start, RATTLE, rng))
    for number in range(PRESSED):
        start = starts[int(rng.integers(len(starts)))]
        frame = frame_of(f"pressed{number}", pressed(start, len(slab), rng))
        if np.linalg.norm(frame.forces, axis=1).max() <= MAX_FORCE:
            yield frame
    yield frame_of("slab", rattled(slab, RATTLE, rng) if rng.random() < 0.5 else slab)
    if len(gas) > 1 or rng.random() < 0.1:  # an atom alone is always the same
        yield frame_of("gas", rattled(gas, RATTLE_MOLECULE, rng))
    yield frame_of("bulk", crystal(slab.symbols, rng))


def rattled(atoms: ase.Atoms, spread: tuple[float, float], rng: Generator) -> ase.Atoms:
    """Return a copy without constraints, every coordinate moved at random.

    Args:
        atoms: The atoms.
        spread: Range out of which the standard deviation [Å] is drawn.
        rng: Source of the draws.
    """
    moved = atoms.copy()
    moved.calc = None
    moved.set_constraint()
    moved.positions += rng.normal(0.0, rng.uniform(*spread), moved.positions.shape)
    return on_grid(moved)


def pressed(atoms: ase.Atoms, size: int, rng: Generator) -> ase.Atoms:
    """Return a copy with the adsorbate lowered and all its atoms scattered.

    Args:
        atoms: Slab, then adsorbate.
        size: Number of the slab's atoms.
        rng: Source of the draws.
    """
    moved = rattled(atoms, RATTLE, rng)
    adsorbate = moved.positions[size:]
    adsorbate += rng.normal(0.0, rng.uniform(*SCATTER), adsorbate.shape)
    adsorbate[:, 2] -= rng.uniform(0.0, PRESS)
    return on_grid(moved)


def crystal(symbols: Iterable[str], rng: Generator) -> ase.Atoms:
    """Return a strained, rattled fcc crystal with metals as frequent as in `symbols`.

    Of elements that are no fcc metals nothing is taken.
    """
    metals = [symbol for symbol in symbols if symbol in LATTICE]
    counts = {m: metals.count(m) for m in sorted(set(metals))}
    total = sum(counts.values())
    a = sum(LATTICE[m] * count for m, count in counts.items()) / total
    atoms = bulk(metals[0], "fcc", a=a, cubic=True) * (CUBES, CUBES, CUBES)
    shares = [count / total for count in counts.values()]
    atoms.symbols[:] = rng.choice(list(counts), len(atoms), p=shares)
    strain = rng.normal(0.0, STRAIN, (3, 3))
    atoms.set_cell(atoms.cell @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
    return rattled(atoms, RATTLE, rng)
