"""A small force field and structures to relax."""

import torch
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, molecule
from ase.constraints import FixAtoms, FixBondLength

from molflt.model import FLTEncoder, FLTModel
from molflt.targets import TargetSpec

PATTERNS = [[False] * 3, [True, True, False], [True] * 3]


def make_model(kind="potential", seed=0):
    torch.manual_seed(seed)
    encoder = FLTEncoder(
        width=16, num_layers=1, num_near_heads=2, num_far_heads=0, cutoff=4.0
    )
    model = FLTModel(encoder, [TargetSpec("energy", kind=kind)]).eval()
    statistics = {"element_reference": {}, "mean": 0.0, "std": 20.0}
    statistics |= {"elements": [1, 6, 8, 29], "pbc_seen": PATTERNS}
    model.set_statistics("energy", statistics)
    return model


def slab(seed=0) -> Atoms:
    atoms = fcc111("Cu", (2, 2, 2), vacuum=6.0)
    add_adsorbate(atoms, "O", 1.3, "fcc")
    atoms.info.clear()
    atoms.set_constraint(FixAtoms(mask=atoms.get_tags() == 2))
    atoms.rattle(0.05, seed=seed)
    return atoms


def structures() -> list[Atoms]:
    frames = [molecule("CO"), slab(), bulk("Cu", cubic=True), slab(1), Atoms("O")]
    for seed, atoms in enumerate(frames):
        atoms.info.clear()
        atoms.set_tags(0)
        atoms.rattle(0.05, seed=seed)
    frames[0].set_constraint(FixBondLength(0, 1))
    return frames
