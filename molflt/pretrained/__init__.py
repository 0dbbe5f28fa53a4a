"""Two small checkpoints that travel in the package, by name.

========== =============================================================================
name       what it is
========== =============================================================================
emt-is2re  adsorption energies of relaxed structures from initial ones, with ASE's EMT
emt-forces a force field of ASE's EMT: energies, forces and stress
========== =============================================================================

EMT's H, C, N and O are, in ASE's words, "just for fun": these models are for trying
things out and for tests, they are no chemistry. Where each comes from stands in its
`origin`.
"""

from pathlib import Path

FOLDER = Path(__file__).resolve().parent
NAMES = ("emt-is2re", "emt-forces")


def checkpoint_path(path: str | Path) -> Path:
    """Return the file behind the name of a shipped checkpoint; any other path as it is.

    A file of that name in the present folder comes first.
    """
    path = Path(path)
    if str(path) in NAMES and not path.exists():
        return FOLDER / f"{path}.ckpt"
    return path
