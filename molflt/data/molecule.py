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
stress        (1, 3, 3) float64 eV/Å^3 optional label: (1/V) dE/d(strain), ASE's sign;
                                       NaN: there is none, as of what is no crystal
energy, ...   (1,)      float64 eV...  optional scalar labels, by target name; NaN:
                                       there is none
============= ========= ======= ====== ==============================================

Positions are float64 so that a system far from the origin can be centred without loss;
energies are float64 because total energies of 1e4 eV leave float32 only 1 meV.
"""

import copy
import math
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from ase import Atoms
from ase.constraints import FixAtoms
from numpy.typing import ArrayLike
from torch import nn
from torch_geometric.data import Data

from molflt.data.formats.plain import id_of
from molflt.data.system import floats, system_arrays
from molflt.data.tags import TagRule, map_tags
from molflt.errors import InputError, prefix_of
from molflt.graph.index import MODEL_FIELDS

STRUCTURE_FIELDS = (*MODEL_FIELDS, "fixed")
ATOM_LABELS = ("forces", "pos_relaxed")
ARRAY_LABELS = (*ATOM_LABELS, "stress")  # all that are no scalars
_MODULE_NAMES = frozenset(dir(nn.ModuleDict()))  # which holds readouts by name


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
    prefix = prefix_of(where)
    arrays = system_arrays(
        z, pos, cell=cell, pbc=pbc, tags=tags, fixed=fixed, prefix=prefix
    )
    graph = system_graph(arrays, "" if sid is None else str(sid))
    n = len(graph.z)
    for name, value in (("forces", forces), ("pos_relaxed", pos_relaxed)):
        if value is not None:
            graph[name] = torch.from_numpy(floats(value, (n, 3), name, prefix))
    if stress is not None:
        graph.stress = torch.from_numpy(floats(stress, (1, 3, 3), "stress", prefix))
    for name, value in (targets or {}).items():
        check_target_name(name, prefix)
        label = floats(_flat(value), (1,), f"label {name!r}", prefix)
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
    pos_relaxed: ArrayLike | None = None,
    where: str = "",
) -> Data:
    """Make the graph of ASE atoms; `FixAtoms` constraints become `fixed`.

    Labels are passed in, as ASE keeps them in several places: see
    `molflt.data.labels.frame_labels`.

    Args:
        atoms: Structure; cell and pbc are taken as they are.
        tags: How to read the tags, see `molflt.data.tags`.
        sid: Id; None: ``atoms.info["sid"]``, or that of a database's row, if any.
        targets: Scalar labels by name.
        forces: Forces (n, 3) [eV/Å].
        stress: Stress (1, 3, 3) [eV/Å^3].
        pos_relaxed: Positions after relaxation (n, 3) [Å].
        where: File and frame, named in every error.

    Raises:
        InputError: As `make_graph` and `map_tags`.
    """
    if sid is None:
        sid = id_of(atoms)
    return make_graph(
        atoms.numbers,
        atoms.positions,
        cell=np.asarray(atoms.cell),
        pbc=atoms.pbc,
        tags=map_tags(atoms, tags, where)[0],
        fixed=held_atoms(atoms),
        sid=sid,
        targets=targets,
        forces=forces,
        stress=stress,
        pos_relaxed=pos_relaxed,
        where=where,
    )


def atoms_arrays(atoms: Atoms, tags: np.ndarray, where: str) -> dict[str, np.ndarray]:
    """Return the arrays of ASE atoms, as `system_arrays`, with OC20's tags given.

    Raises:
        InputError: As `system_arrays`.
    """
    return system_arrays(
        atoms.numbers,
        atoms.positions,
        cell=atoms.cell.array,
        pbc=atoms.pbc,
        tags=tags,
        fixed=held_atoms(atoms),
        prefix=prefix_of(where),
    )


def system_graph(arrays: dict[str, np.ndarray], sid: str = "") -> Data:
    """Return the graph of checked arrays, which share its memory."""
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return Data(**tensors, sid=sid)


def graph_arrays(graph: Data) -> dict[str, np.ndarray]:
    """Return the arrays of a graph, which share its memory."""
    return {name: graph[name].numpy() for name in STRUCTURE_FIELDS}


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
    if "stress" in graph and not is_missing(graph, "stress"):
        atoms.info["stress"] = graph.stress[0].numpy().copy()
    for name in known_targets(graph):
        atoms.info[name] = float(graph[name])
    return atoms


def held_atoms(atoms: Atoms) -> np.ndarray:
    """Return which atoms `FixAtoms` holds (n,)."""
    held = np.zeros(len(atoms), dtype=bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            held[constraint.index] = True
    return held


def target_names(graph: Data) -> list[str]:
    """Return the names of the graph's scalar labels, in order of the alphabet."""
    known = {*STRUCTURE_FIELDS, *ARRAY_LABELS, "sid"}
    return sorted(name for name in graph.keys() if name not in known)  # noqa: SIM118


def with_missing(graph: Data, names: Iterable[str]) -> Data:
    """Note on a graph, and return it, which targets or stress it has not: NaN."""
    for name in names:
        shape = (1, 3, 3) if name == "stress" else 1
        graph[name] = torch.from_numpy(np.full(shape, np.nan))  # never on a default GPU
    return graph


def is_missing(graph: Data, name: str) -> bool:
    """Tell whether a scalar label, or the stress, is only noted as missing."""
    return math.isnan(graph[name].flatten()[0].item())


def known_targets(graph: Data) -> list[str]:
    """Return the names of the scalar labels that are not missing."""
    return [name for name in target_names(graph) if not is_missing(graph, name)]


def without_missing(graph: Data) -> Data:
    """Return a graph without the labels that are only noted as missing."""
    kept = copy.copy(graph)
    for name in [*target_names(graph), "stress"]:
        if name in graph and is_missing(graph, name):
            del kept[name]
    return kept


def check_target_name(name: str, prefix: str = "") -> None:
    """Refuse names that would collide with other fields, PyG's batching or modules.

    PyG shifts fields whose name contains "index" or "batch" when it makes a batch.

    Raises:
        InputError: The name cannot be used.
    """
    taken = {*STRUCTURE_FIELDS, *ARRAY_LABELS, "sid", "ptr", "face", "num_nodes"}
    shifted = "index" in name or "batch" in name
    if name in taken | _MODULE_NAMES or shifted or not name.isidentifier():
        raise InputError(
            f"{prefix}{name!r} cannot be the name of a target: letters, digits and _, "
            "without 'index' and 'batch', and no word that has a meaning already."
        )


def _flat(value: ArrayLike) -> np.ndarray:
    array = np.asarray(value)
    return array.reshape(-1) if array.size == 1 else array
