"""CO on Cu(111): the relaxed adsorption energy, predicted at once and relaxed with EMT.

    python examples/co_on_copper.py                    the shipped model
    python examples/co_on_copper.py demo/demo.ckpt     or one's own, of `molflt demo`

The slab is built with ase.build as anybody would. The model sees the initial structure
alone and predicts what EMT has after all relaxations,

    E(slab + CO) - E(slab) - E(CO),   each relaxed,

the energy its training set counts. EMT relaxes the three systems for comparison. EMT's
C and O are, in ASE's words, "just for fun": the numbers test a method, they are no
chemistry. In the training set CO lies flat; upright ones show how far that carries.
"""

import argparse
import time
from itertools import product

import ase.io
from ase import Atoms
from ase.build import add_adsorbate, fcc111, molecule
from ase.constraints import FixAtoms

import molflt
from molflt.data.emt.relax import relax
from molflt.data.emt.systems import LATTICE
from molflt.errors import MolfltError

SITES = ("ontop", "bridge", "fcc", "hcp")


def main(words: list[str] | None = None) -> None:
    """Print both energies for each adsorption site."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "checkpoint",
        nargs="?",
        default="emt-is2re",
        help="trained on the shipped EMT sample; default: the shipped model",
    )
    parser.add_argument("--height", type=float, default=1.9, help="of C above Cu [Å]")
    parser.add_argument("-o", "--out", help="write the structures to this .extxyz")
    options = parser.parse_args(words)

    calculator = molflt.FLTCalculator(options.checkpoint)
    spec = calculator.spec
    if spec is None or spec.kind != "relaxed":
        parser.error("the checkpoint does not predict energies after relaxation")

    # The reference of the label: slab and molecule relaxed by themselves.
    clean, gas = relax(copper()), relax(molecule("CO", vacuum=6.0), fmax=0.005)
    heads = ("model [eV]", "EMT [eV]", "difference")
    print(f"{'site':<8}{'CO':<10}" + "".join(f"{head:>12}" for head in heads))
    frames = []
    for way, site in product(("flat", "upright"), SITES):
        # As in the training set: the adsorbate is put on the relaxed clean slab.
        atoms = clean.atoms.copy()
        add_adsorbate(atoms, turned(gas.atoms, way), options.height, site, mol_index=1)
        atoms.info = {}
        started = time.perf_counter()
        predicted = calculator.get_potential_energy(atoms)
        seconds = time.perf_counter() - started
        exact = relax(atoms).energy - clean.energy - gas.energy
        row = (predicted, exact, predicted - exact)
        print(f"{site:<8}{way:<10}" + "".join(f"{value:>12.3f}" for value in row))
        atoms.info = {"site": site, "predicted_energy": predicted, "emt_energy": exact}
        frames.append(atoms)
    print(f"A prediction took {1e3 * seconds:.0f} ms.")
    if options.out:
        ase.io.write(options.out, frames)


def turned(carbon_monoxide: Atoms, way: str) -> Atoms:
    """Return CO with its axis along x (flat) or z, carbon below (upright)."""
    atoms = carbon_monoxide.copy()
    atoms.set_cell(None)
    axis = atoms.positions[0] - atoms.positions[1]  # from C to O
    atoms.rotate(axis, "x" if way == "flat" else "z")
    return atoms


def copper() -> Atoms:
    """Return a slab of four layers whose lower two are held; tags are the layers."""
    slab = fcc111("Cu", size=(3, 3, 4), a=LATTICE["Cu"], vacuum=9.0)
    slab.set_constraint(FixAtoms(mask=slab.get_tags() > 2))
    return slab


if __name__ == "__main__":
    try:
        main()
    except (MolfltError, OSError) as error:  # what a user gave, and a sentence on it
        raise SystemExit(str(error)) from None
