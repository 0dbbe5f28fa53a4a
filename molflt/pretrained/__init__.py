"""Small checkpoints that travel in the package, by name.

============== =========================================================================
name           what it is
============== =========================================================================
emt-is2re      adsorption energies of relaxed structures from initial ones, with EMT
emt-forces     a force field of EMT: energies, forces and stress
qm9-properties twelve properties of small organic molecules, B3LYP/6-31G(2df,p)
============== =========================================================================

EMT is ASE's potential, whose H, C, N and O are, in ASE's words, "just for fun": these
two models are for trying things out and for tests, they are no chemistry. That of QM9
knows neutral molecules of H, C, N and O with up to nine heavy atoms, at minima of
the functional or of MMFF94; how far it is off stands in docs/results.md. Where each
comes from stands in its `origin`.
"""

from pathlib import Path

FOLDER = Path(__file__).resolve().parent
NAMES = ("emt-is2re", "emt-forces", "qm9-properties")


def checkpoint_path(path: str | Path) -> Path:
    """Return the file behind the name of a shipped checkpoint; any other path as it is.

    A file of that name in the present folder comes first.
    """
    path = Path(path)
    if str(path) in NAMES and not path.exists():
        return FOLDER / f"{path}.ckpt"
    return path
