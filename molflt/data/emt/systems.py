"""Random adsorbates on random fcc slabs: the initial structures of the EMT data set."""

from dataclasses import dataclass
from itertools import combinations

import ase
import numpy as np
from ase.build import fcc100, fcc110, fcc111, molecule
from ase.constraints import FixAtoms
from ase.data import covalent_radii
from ase.geometry import get_distances
from numpy.random import Generator

# EMT's own equilibrium lattice constants in Å (not experiment's); a test recomputes
LATTICE = {
    "Al": 3.9943, "Cu": 3.5898, "Ag": 4.0636, "Au": 4.0562,
    "Ni": 3.4871, "Pd": 3.8787, "Pt": 3.9218,
}  # fmt: skip
METALS = tuple(LATTICE)
PAIRS = tuple(combinations(METALS, 2))

# name -> atom that points to the surface; None: lies flat. Linear molecules lie flat:
# with EMT an upright one stays or falls over, and what decides is hardly visible.
# EMT keeps these molecules whole in the gas; others (CHO, H2O2, NO2, CH3OH) collapse.
# No two share a formula.
POSES: dict[str, int | None] = {
    "H": 0, "C": 0, "N": 0, "O": 0,
    "CH": 0, "NH": 0, "OH": 0, "C2": None, "CN": None,
    "CO": None, "N2": None, "NO": None, "O2": None,
    "CH2": 0, "NH2": 0, "H2O": 0, "CO2": None, "HCN": None, "N2O": None,
    "C2H2": None, "CH2O": 0, "CH3": None, "NH3": 0, "CH4": None,
}  # fmt: skip
ADSORBATES = tuple(POSES)
_ASE_NAME = {"CH2": "CH2_s1A1d", "CH2O": "H2CO"}

_FACETS = {"111": fcc111, "100": fcc100, "110": fcc110}
# facet, repeats, layers held, weight; even repeats also fit the ordered alloys
_SHAPES = (
    ("111", (3, 3, 4), 2, 0.34),
    ("100", (3, 3, 4), 2, 0.30),
    ("110", (2, 3, 6), 3, 0.08),
    ("111", (4, 4, 3), 1, 0.12),
    ("100", (4, 4, 3), 1, 0.12),
    ("110", (2, 4, 5), 2, 0.04),
)
# the cubic axes' Miller directions along x, y, z of ASE's slabs
_AXES = {
    "111": [[1, -1, 0], [-1, -1, 2], [1, 1, 1]],
    "100": [[1, 1, 0], [-1, 1, 0], [0, 0, 1]],
    "110": [[0, 0, 1], [1, -1, 0], [1, 1, 0]],
}
# parities of the cubic coordinates of fcc's four simple-cubic sublattices
_SUBLATTICES = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]])
VACUUM = 18.0  # Å of cell height above the slab
PURE = 0.2  # share of slabs of one metal, where they are not to be new
JITTER = 0.15  # Å, standard deviation of the place around its site, per direction
TILT = 15.0  # degrees, standard deviation of the tilt
RATTLE = 0.03  # Å, standard deviation of each coordinate of the adsorbate's atoms
CONTACT = 1.15  # closest approach over the sum of covalent radii
GRID = 2.0**-13  # Å; positions and cells are multiples: exact in float32, compress well


@dataclass(frozen=True)
class SlabPlan:
    """What a slab is made of, before any coordinates."""

    metals: tuple[str, ...]
    fraction: float
    ordered: bool
    shape: int


def draw_plan(
    rng: Generator, pairs: tuple[tuple[str, str], ...], pure: float = PURE
) -> SlabPlan:
    """Draw a composition and a facet; alloys are A3B, AB or AB3 of one of `pairs`."""
    metals: tuple[str, ...] = (str(rng.choice(METALS)),)
    alloy = rng.random() >= pure
    if alloy:
        metals = pairs[int(rng.integers(len(pairs)))]
    weights = np.array([s[3] for s in _SHAPES])
    shape = int(rng.choice(len(_SHAPES), p=weights / weights.sum()))
    fraction = float(rng.choice([0.25, 0.5, 0.75])) if alloy else 0.0
    even = all(n % 2 == 0 for n in _SHAPES[shape][1][:2])
    return SlabPlan(metals, fraction, bool(alloy and even), shape)


def build_slab(plan: SlabPlan, rng: Generator) -> ase.Atoms:
    """Build the bulk-terminated slab of `plan` with its bottom layers held.

    The lattice constant is Vegard's, (1 - x) a_A + x a_B, of EMT's own constants.
    Random alloys are shuffles of the exact composition; ordered ones occupy the
    simple-cubic sublattices of fcc: one of four (A3B, as L1_2) or two (AB, as L1_0).

    Returns:
        Slab with pbc (True, True, False), OC20's tags (0 sub-surface, 1 top layer)
        and `FixAtoms`.
    """
    facet, size, held, _ = _SHAPES[plan.shape]
    metals, x = plan.metals, plan.fraction
    a = (1 - x) * LATTICE[metals[0]] + x * LATTICE[metals[-1]]
    slab = _FACETS[facet](metals[0], size, a=a, vacuum=VACUUM / 2)
    slab.positions[:, 2] -= slab.positions[:, 2].min() - 1.0
    if len(metals) == 2:
        if plan.ordered:
            second = _sublattice(slab, facet, a, x, rng)
        else:
            second = rng.permutation(len(slab)) < round(x * len(slab))
        slab.symbols[second] = metals[1]
    layer = slab.get_tags()  # ASE counts from the top, 1 = top layer
    slab.set_tags(np.where(layer == 1, 1, 0))
    slab.set_constraint(FixAtoms(np.flatnonzero(layer > size[2] - held)))
    slab.pbc = (True, True, False)
    return slab


def _sublattice(
    slab: ase.Atoms, facet: str, a: float, x: float, rng: Generator
) -> np.ndarray:
    """Which atoms of an ordered alloy are of the second metal."""
    axes = np.array(_AXES[facet], float)
    axes /= np.linalg.norm(axes, axis=1)[:, None]
    cubic = np.rint(2 * (slab.positions - slab.positions[0]) @ axes / a).astype(int)
    parity = cubic[:, rng.permutation(3)] % 2
    if x == 0.5:
        return parity[:, 0] == 0
    minority = (parity == rng.choice(_SUBLATTICES)).all(1)
    return minority if x < 0.5 else ~minority


def gas_molecule(name: str) -> ase.Atoms:
    """Textbook geometry of an adsorbate, before EMT relaxes it."""
    if len(name) == 1:
        return ase.Atoms(name)
    if name == "C2":
        return ase.Atoms("C2", [[0, 0, 0], [0, 0, 1.25]])
    return molecule(_ASE_NAME.get(name, name))


def place(slab: ase.Atoms, name: str, gas: ase.Atoms, rng: Generator) -> ase.Atoms:
    """Put `gas` on a random site of `slab`: the initial structure.

    The molecule stands on its binding atom or lies flat (`POSES`), is turned at random
    about the surface normal, tilted and rattled a little, and lowered until its closest
    contact with the slab equals `CONTACT` times the sum of the covalent radii.

    Args:
        slab: Relaxed clean slab from `build_slab`.
        name: Key of `POSES`.
        gas: Relaxed isolated adsorbate.
        rng: Source of the site, its jitter, the turn and the rattle.

    Returns:
        Slab followed by the adsorbate (tag 2); coordinates on the grid of `GRID` Å.
    """
    atoms, ads = slab.copy(), gas.copy()
    atom = POSES[name]
    ads.positions -= ads.positions.mean(0) if atom is None else ads.positions[atom]
    far = ads.positions[np.linalg.norm(ads.positions, axis=1).argmax()]
    if len(ads) > 1 and atom is None:
        ads.rotate(far, "x")
    elif len(ads) > 1:
        ads.rotate(ads.positions.mean(0), "z")
    ads.rotate(rng.uniform(0.0, 360.0), "z")
    ads.rotate(rng.normal(0.0, TILT), "x")
    ads.rotate(rng.uniform(0.0, 360.0), "z")
    ads.positions += rng.normal(0.0, RATTLE, (len(ads), 3))

    info = slab.info["adsorbate_info"]
    sites = sorted(info["sites"])
    site = np.array(info["sites"][sites[int(rng.integers(len(sites)))]])
    site = (site + rng.integers(0, 4, 2)) @ info["cell"]
    ads.positions[:, :2] += site + rng.normal(0.0, JITTER, 2)
    ads.positions[:, 2] += 100.0  # clear of the slab, then down
    flat = ads.positions * (1, 1, 0)
    vectors, _ = get_distances(
        flat, atoms.positions * (1, 1, 0), cell=atoms.cell, pbc=(True, True, False)
    )
    radii = covalent_radii[ads.numbers][:, None] + covalent_radii[atoms.numbers]
    reach = (CONTACT * radii) ** 2 - np.square(vectors).sum(-1)
    lowest = atoms.positions[:, 2] + np.sqrt(np.maximum(reach, 0.0))
    need = np.where(reach > 0, lowest - ads.positions[:, 2:], -np.inf)
    ads.positions[:, 2] += need.max()
    ads.set_tags(2)
    atoms += ads
    return on_grid(atoms)


def on_grid(atoms: ase.Atoms) -> ase.Atoms:
    """Round positions and cell to multiples of `GRID`, in place."""
    atoms.positions = np.rint(atoms.positions / GRID) * GRID
    atoms.cell[:] = np.rint(atoms.cell.array / GRID) * GRID
    return atoms
