"""One system of the EMT data set: draw it, relax it with EMT, judge the result."""

from dataclasses import dataclass
from functools import cache

import ase
import numpy as np
from ase.geometry import get_distances
from ase.optimize import FIRE
from numpy.random import SeedSequence, default_rng

from molflt.data.emt.frames import Frame, frame_of, further_frames
from molflt.data.emt.potential import PairEMT
from molflt.data.emt.systems import build_slab, draw_plan, gas_molecule, on_grid, place

FMAX = 0.03  # eV/Å, OC20's
MAX_STEPS = 500
MAX_ENERGY = 10.0  # eV, as OC20 drops them
MAX_SLAB_MOVE = 1.0  # Å; more, and the slab has rebuilt itself
MAX_GAP = 3.5  # Å between adsorbate and slab; more, and nothing is adsorbed
NUM_FRAMES = 6


@dataclass(frozen=True)
class Split:
    """What the systems of one split may be made of."""

    name: str
    adsorbates: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    pure: float


@dataclass(frozen=True)
class System:
    """A relaxed system, or the reason why it was dropped.

    Attributes:
        sid: ``split-attempt``.
        dropped: Reason, empty for a good system.
        initial: Slab (atoms first) and adsorbate as placed.
        relaxed: Relaxed positions (n, 3) [Å].
        energy: E(slab+adsorbate) - E(slab) - E(adsorbate) [eV], each relaxed.
        frames: If asked for, `further_frames` and those of the relaxation, named by
            their number: initial (0), some on the way, relaxed (the last).
    """

    sid: str
    dropped: str
    initial: ase.Atoms
    relaxed: np.ndarray
    energy: float
    frames: tuple[Frame, ...] = ()


@dataclass(frozen=True)
class Relaxation:
    """Where a relaxation ended, and the frames on its way."""

    atoms: ase.Atoms
    energy: float
    converged: bool
    frames: tuple[Frame, ...]


def relax(atoms: ase.Atoms, fmax: float = FMAX, frames: bool = False) -> Relaxation:
    """Follow the forces downhill with FIRE until none exceeds `fmax` [eV/Å].

    FIRE with short steps, not BFGS: it ends in the minimum that belongs to the initial
    structure, where BFGS jumps over barriers; labels so depend smoothly on the input
    (moving the adsorbate's atoms by 0.02 Å changes the energy by 0.02 eV on average,
    with LBFGS by 0.04 eV) and EMT's soft molecules do not fly apart.
    """
    atoms = atoms.copy()
    atoms.calc = PairEMT()
    optimizer = FIRE(atoms, logfile=None, maxstep=0.05, dtmax=0.5)
    kept: list[Frame] = []

    def keep() -> None:
        kept.append(frame_of(str(len(kept)), atoms))

    if frames:
        optimizer.attach(keep)
    converged = optimizer.run(fmax=fmax, steps=MAX_STEPS)
    chosen = np.geomspace(1, max(len(kept), 1), NUM_FRAMES).round().astype(int) - 1
    return Relaxation(
        atoms,
        atoms.get_potential_energy(),
        bool(converged),
        tuple(kept[k] for k in np.unique(chosen)) if frames else (),
    )


@cache
def relaxed_gas(name: str) -> tuple[ase.Atoms, float]:
    """Return the isolated adsorbate in its EMT minimum, and its energy [eV]."""
    result = relax(gas_molecule(name), fmax=0.005)
    gas = result.atoms.copy()
    gas.calc = None
    return gas, result.energy


def make_system(
    split: Split, split_index: int, attempt: int, seed: int, frames: bool = False
) -> System:
    """Draw and relax attempt number `attempt` of a split.

    All randomness comes from ``SeedSequence(seed, spawn_key=(split_index, attempt))``:
    the same system whoever makes it, whatever was made before.
    """
    key = (split_index, attempt)
    rng = default_rng(SeedSequence(seed, spawn_key=key))
    name = split.adsorbates[int(rng.integers(len(split.adsorbates)))]
    bulk_slab = on_grid(build_slab(draw_plan(rng, split.pairs, split.pure), rng))
    clean = relax(bulk_slab)
    gas, gas_energy = relaxed_gas(name)
    initial = place(clean.atoms, name, gas, rng)
    final = relax(initial, frames=frames)
    energy = final.energy - clean.energy - gas_energy
    dropped = "" if clean.converged else "slab not converged"
    dropped = dropped or _fault(initial, final, energy)
    sid = f"{split.name}-{attempt}"
    kept = final.frames
    if frames and not dropped:
        kept = (*further_frames(kept, clean.atoms, gas, rng), *kept)
    return System(sid, dropped, initial, final.atoms.positions, energy, kept)


def _fault(initial: ase.Atoms, final: Relaxation, energy: float) -> str:
    if not final.converged:
        return "not converged"
    if not abs(energy) <= MAX_ENERGY:
        return "energy beyond 10 eV"
    moved = np.linalg.norm(final.atoms.positions - initial.positions, axis=1)
    adsorbate = initial.get_tags() == 2
    if moved[~adsorbate].max() > MAX_SLAB_MOVE:
        return "slab rebuilt"
    pos = final.atoms.positions
    _, gap = get_distances(
        pos[adsorbate], pos[~adsorbate], cell=initial.cell, pbc=initial.pbc
    )
    return "desorbed" if gap.min() > MAX_GAP else ""
