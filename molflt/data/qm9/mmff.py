"""QM9's molecules as they are known without quantum chemistry: at minima of MMFF94.

Who wants to predict for a SMILES has a force field's geometry, and a model that has
seen none is far off there. The labels stay those of QM9, at the minimum of its
functional from which the force field started (the idea of QM9M: Lu, Wang and Zhang,
J. Chem. Theory Comput. 15, 4113 (2019)). Where that is far away it is another
conformer, to which the labels do not belong.

As safetensors beside the packed molecules: positions (a, 3) float64 [Å] of all atoms,
and for each molecule whether there are any (m,).
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor

from molflt.data.formats.mmff import mmff_positions
from molflt.data.progress import track
from molflt.data.qm9.table import read_arrays
from molflt.files import atomic_path

FARTHEST = 0.5
"""Root mean square of the distances that atoms may move [Å]."""

_FORMAT = "molflt-qm9-mmff-1"


def prepare_mmff(
    path: str | Path, table: Mapping[str, Tensor], source: str
) -> dict[str, Tensor]:
    """Return ``pos`` and ``found``; make the file unless it has the same molecules.

    It takes 3 ms a molecule, 7 minutes for all.

    Args:
        path: The file.
        table: Arrays of the packed molecules (`molflt.data.qm9.table`).
        source: Digest of the files they were read from.

    Raises:
        InputError: The file is damaged or cannot be written.
    """
    path = Path(path)
    known = {"source": source, "farthest": f"{FARTHEST:g}"}
    made = read_arrays(path, _FORMAT, known, "file of geometries of QM9")
    if made is not None:
        return made
    z, pos = table["z"].numpy(), table["pos"].numpy().copy()
    ends = table["offsets"].tolist()
    found = np.zeros(len(ends) - 1, dtype=bool)
    for index in track(range(len(found)), "geometries of MMFF94"):
        atoms = slice(ends[index], ends[index + 1])
        relaxed = near_minimum(z[atoms], pos[atoms])
        if relaxed is not None:
            pos[atoms], found[index] = relaxed, True
    arrays = {"pos": pos, "found": found}
    with atomic_path(path) as temporary:
        save_file(arrays, temporary, metadata={"format": _FORMAT} | known)
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def near_minimum(z: np.ndarray, pos: np.ndarray) -> np.ndarray | None:
    """Return what `mmff_positions` does; None also if it is farther than `FARTHEST`."""
    relaxed = mmff_positions(z, pos)
    near = relaxed is not None and rmsd(pos, relaxed) <= FARTHEST
    return relaxed if near else None


def rmsd(pos: np.ndarray, other: np.ndarray) -> float:
    """Return how far atoms moved, when a molecule is put on another without mirroring.

        min over turns R of sqrt((1 / n) sum_i |R r_i - r'_i|^2),   centroids at 0

    Args:
        pos: Positions (n, 3).
        other: Positions of the same atoms (n, 3).

    Source: Kabsch, Acta Cryst. A 34, 827 (1978).
    """
    pos, other = (each - each.mean(axis=0) for each in (pos, other))
    left, values, right = np.linalg.svd(pos.T @ other)
    values[2] *= np.sign(np.linalg.det(left) * np.linalg.det(right))
    squares = (pos**2).sum() + (other**2).sum() - 2 * values.sum()
    return float(np.sqrt(max(squares, 0.0) / len(pos)))
