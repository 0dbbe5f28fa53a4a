"""From arrays or ASE atoms to the graph that everything else works on, and back.

A graph is a `torch_geometric.data.Data` with these fields and no others; `make_graph`
is the only place where one is made from outside data.

============= ========= ======= ====== ==============================================
field         shape     dtype   unit   meaning
============= ========= ======= ====== ==============================================
z             (n,)      int64          atomic numbers 1..118
pos           (n, 3)    float64 Å      positions
cell          (1, 3, 3) float64 Å      lattice vectors as rows, zeros where none
pbc           (1, 3)    bool           periodic directions
tags          (n,)      int64          0 sub-surface, 1 surface, 2 adsorbate, -1 none
fixed         (n,)      bool           atoms held during relaxation
sid           str                      id, unique in its split
forces        (n, 3)    float64 eV/Å   optional label
pos_relaxed   (n, 3)    float64 Å      optional label: positions after relaxation
stress        (1, 3, 3) float64 eV/Å^3 optional label: (1/V) dE/d(strain), ASE's sign
energy, ...   (1,)      float64 eV...  optional scalar labels, by target name
============= ========= ======= ====== ==============================================

Positions are float64 so that a system far from the origin can be centred without loss;
energies are float64 because total energies of 1e4 eV leave float32 only 1 meV.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.constraints import FixAtoms
from numpy.typing import ArrayLike
from torch_geometric.data import Data

from molflt.data.coincidence import MIN_DISTANCE, refuse_coincident
from molflt.data.tags import TagRule, map_tags
from molflt.errors import InputError

STRUCTURE_FIELDS = ("z", "pos", "cell", "pbc", "tags", "fixed")
ATOM_LABELS = ("forces", "pos_relaxed")
ARRAY_LABELS = (*ATOM_LABELS, "stress")  # all that are no scalars
MAX_Z = 118


def make_graph(
    z: ArrayLike,
    pos: ArrayLike,
    *,
    cell: ArrayLike | None = None,
    pbc: ArrayLike | None = None,
    tags: ArrayLike | None = None,
    fixed: ArrayLike | None = None,
    sid: str | None = None,
    targets: Mapping[str, float] | None = None,
    forces: ArrayLike | None = None,
    pos_relaxed: ArrayLike | None = None,
    stress: ArrayLike | None = None,
    where: str = "",
) -> Data:
    """Check the arrays of one system and make its graph (fields: module docstring).

    Args:
        z: Atomic numbers (n,).
        pos: Positions (n, 3) [Å].
        cell: Lattice vectors as rows (3, 3) or (1, 3, 3) [Å]; None: no lattice.
        pbc: Periodic directions, one bool or three; None: not periodic.
        tags: OC20 tags (n,) out of {-1, 0, 1, 2}; None: all -1.
        fixed: Atoms held during relaxation (n,); None: none.
        sid: Id, unique in its split; None: empty, the data set then counts.
        targets: Scalar labels by name, in the units of their `TargetSpec`.
        forces: Forces (n, 3) [eV/Å].
        pos_relaxed: Positions after relaxation (n, 3) [Å].
        stress: (1/V) dE/d(strain) (1, 3, 3) [eV/Å^3].
        where: File and record, named in every error.

    Raises:
        InputError: Wrong shapes, unknown species, a value that is not finite, two atoms
            at one place (periodic images included), or pbc without a lattice vector.
    """
    prefix = f"{where}: " if where else ""
    numbers = _species(z, prefix)
    n = len(numbers)
    positions = _floats(pos, (n, 3), "positions", prefix)
    lattice = np.zeros((3, 3)) if cell is None else np.asarray(cell)
    if lattice.shape == (1, 3, 3):
        lattice = lattice[0]
    lattice = _floats(lattice, (3, 3), "cell", prefix)
    periodic = _periodic(pbc, lattice, prefix)
    refuse_coincident(numbers, positions, lattice, periodic, prefix)
    graph = Data(
        z=torch.from_numpy(numbers),
        pos=torch.from_numpy(positions),
        cell=torch.from_numpy(lattice)[None],
        pbc=torch.from_numpy(periodic)[None],
        tags=torch.from_numpy(_tags(tags, n, prefix)),
        fixed=torch.from_numpy(_fixed(fixed, n, prefix)),
        sid="" if sid is None else str(sid),
    )
    for name, value in (("forces", forces), ("pos_relaxed", pos_relaxed)):
        if value is not None:
            graph[name] = torch.from_numpy(_floats(value, (n, 3), name, prefix))
    if stress is not None:
        graph.stress = torch.from_numpy(_floats(stress, (1, 3, 3), "stress", prefix))
    for name, value in (targets or {}).items():
        check_target_name(name, prefix)
        label = _floats(_flat(value), (1,), f"label {name!r}", prefix)
        graph[name] = torch.from_numpy(label)
    return graph


def atoms_to_graph(
    atoms: Atoms,
    *,
    tags: TagRule = "none",
    sid: str | None = None,
    targets: Mapping[str, float] | None = None,
    forces: ArrayLike | None = None,
    stress: ArrayLike | None = None,
    where: str = "",
) -> Data:
    """Make the graph of ASE atoms; `FixAtoms` constraints become `fixed`.

    Labels are passed in, as ASE keeps them in several places: see
    `molflt.data.ase_frames.read_labels`.

    Args:
        atoms: Structure; cell and pbc are taken as they are.
        tags: How to read the tags, see `molflt.data.tags`.
        sid: Id; None: ``atoms.info["sid"]`` if there is one.
        targets: Scalar labels by name.
        forces: Forces (n, 3) [eV/Å].
        stress: Stress (1, 3, 3) [eV/Å^3].
        where: File and frame, named in every error.

    Raises:
        InputError: As `make_graph` and `map_tags`.
    """
    fixed = np.zeros(len(atoms), dtype=bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            fixed[constraint.index] = True
    if sid is None and "sid" in atoms.info:
        sid = str(atoms.info["sid"])
    return make_graph(
        atoms.numbers,
        atoms.positions,
        cell=np.asarray(atoms.cell),
        pbc=atoms.pbc,
        tags=map_tags(atoms, tags, where)[0],
        fixed=fixed,
        sid=sid,
        targets=targets,
        forces=forces,
        stress=stress,
        where=where,
    )


def graph_to_atoms(graph: Data) -> Atoms:
    """Return the structure with its labels: those of atoms in `arrays`, or in `info`.

    Tags are OC20's (0 for all atoms where the graph has none), `fixed` becomes a
    `FixAtoms` constraint, an id that is not empty goes to ``info["sid"]``.
    """
    atoms = Atoms(
        numbers=graph.z.numpy(),
        positions=graph.pos.numpy(),
        cell=graph.cell[0].numpy(),
        pbc=graph.pbc[0].numpy(),
        tags=graph.tags.clamp_min(0).numpy(),
    )
    if graph.fixed.any():
        atoms.set_constraint(FixAtoms(mask=graph.fixed.numpy()))
    if graph.sid:
        atoms.info["sid"] = graph.sid
    for name in [name for name in ATOM_LABELS if name in graph]:
        atoms.arrays[name] = graph[name].numpy().copy()
    if "stress" in graph:
        atoms.info["stress"] = graph.stress[0].numpy().copy()
    for name in target_names(graph):
        atoms.info[name] = float(graph[name])
    return atoms


def target_names(graph: Data) -> list[str]:
    """Return the names of the graph's scalar labels, in order of the alphabet."""
    known = {*STRUCTURE_FIELDS, *ARRAY_LABELS, "sid"}
    return sorted(name for name in graph.keys() if name not in known)  # noqa: SIM118


def check_target_name(name: str, prefix: str = "") -> None:
    """Refuse names that would collide with other fields or with PyG's batching.

    PyG shifts fields whose name contains "index" or "batch" when it makes a batch.

    Raises:
        InputError: The name cannot be used.
    """
    taken = {*STRUCTURE_FIELDS, *ARRAY_LABELS, "sid", "ptr", "face", "num_nodes"}
    if name in taken or "index" in name or "batch" in name or not name.isidentifier():
        raise InputError(f"{prefix}{name!r} cannot be the name of a target.")


def _species(z: ArrayLike, prefix: str) -> np.ndarray:
    numbers = np.asarray(z)
    if numbers.ndim != 1 or len(numbers) == 0:
        raise InputError(
            f"{prefix}atomic numbers must be a list of at least one atom, "
            f"received shape {numbers.shape}."
        )
    if numbers.dtype.kind not in "iuf":
        raise InputError(f"{prefix}atomic numbers must be numbers.")
    with np.errstate(invalid="ignore"):  # NaN becomes some integer, and differs
        whole = numbers.astype(np.int64)
    bad = (whole != numbers) | (whole < 1) | (whole > MAX_Z)
    if bad.any():
        atom = int(np.argmax(bad))
        symbol = " (ASE's placeholder X)" if numbers[atom] == 0 else ""
        raise InputError(
            f"{prefix}atom {atom} has the unknown species {numbers[atom]}{symbol}; "
            f"atomic numbers are 1 to {MAX_Z}."
        )
    return whole


def _floats(
    values: ArrayLike, shape: tuple[int, ...], name: str, prefix: str
) -> np.ndarray:
    try:
        array = np.array(values, dtype=np.float64)  # a copy: graphs own their memory
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{prefix}{name} must be numbers ({error}).") from error
    if array.shape != shape:
        raise InputError(
            f"{prefix}{name} must have shape {shape}, received {array.shape}."
        )
    finite = np.isfinite(array)
    if not finite.all():
        row = int(np.argmin(finite.reshape(len(array), -1).all(axis=1)))
        place = f" of atom {row}" if len(shape) == 2 and name != "cell" else ""
        bad = array[~finite].flat[0]
        raise InputError(f"{prefix}{name}{place} is {bad}; it must be finite.")
    return array


def _periodic(pbc: ArrayLike | None, lattice: np.ndarray, prefix: str) -> np.ndarray:
    flags = np.asarray(False if pbc is None else pbc).astype(bool).reshape(-1)
    if len(flags) not in (1, 3):
        raise InputError(f"{prefix}pbc must be one or three flags, got {len(flags)}.")
    periodic = np.array(np.broadcast_to(flags, 3))
    vectors = lattice[periodic]
    if len(vectors):
        # Singular values: also finds vectors that are parallel or in one plane.
        smallest = np.linalg.svd(vectors, compute_uv=False).min()
        if smallest < MIN_DISTANCE:
            raise InputError(
                f"{prefix}pbc {periodic.tolist()} needs independent lattice vectors "
                f"that are not zero, the cell is {lattice.tolist()}."
            )
    return periodic


def _tags(tags: ArrayLike | None, n: int, prefix: str) -> np.ndarray:
    if tags is None:
        return np.full(n, -1, dtype=np.int64)
    array = np.asarray(tags)
    if array.shape != (n,) or array.dtype.kind not in "iuf":
        raise InputError(
            f"{prefix}tags must be numbers of shape ({n},), got {array.shape}."
        )
    with np.errstate(invalid="ignore"):
        whole = array.astype(np.int64)
    bad = (whole != array) | (whole < -1) | (whole > 2)
    if bad.any():
        raise InputError(
            f"{prefix}tag {array[bad][0]} is outside OC20's convention "
            "(0 sub-surface, 1 surface, 2 adsorbate, -1 none)."
        )
    return whole


def _flat(value: ArrayLike) -> np.ndarray:
    array = np.asarray(value)
    return array.reshape(-1) if array.size == 1 else array


def _fixed(fixed: ArrayLike | None, n: int, prefix: str) -> np.ndarray:
    array = np.zeros(n) if fixed is None else np.asarray(fixed)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{prefix}fixed must be flags, not {array.dtype}.")
    array = array.astype(bool)
    if array.shape != (n,):
        raise InputError(f"{prefix}fixed must have shape ({n},), got {array.shape}.")
    return array


def assemble(fields: dict[str, Any]) -> Data:
    """Make a graph from fields that were checked when they were written."""
    return Data(**fields)
