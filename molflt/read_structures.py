"""Structures of any file, as they are read: atoms, graph, labels, or what is wrong."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from ase import Atoms
from torch_geometric.data import Data

from molflt.admission import admit
from molflt.data.formats.plain import database_pairs, id_of
from molflt.data.formats.structure_files import iterate_structures
from molflt.data.labels.frame_labels import places, read_forces, read_labels
from molflt.data.molecule import (
    graph_arrays,
    graph_to_atoms,
    known_targets,
    system_graph,
)
from molflt.data.source import open_source
from molflt.data.tags import TagRule
from molflt.domain import Domain
from molflt.errors import InputError, MolfltError
from molflt.frames import ALL, one_frame


@dataclass
class Structure:
    """One structure of an input file.

    Args:
        file: Path as given.
        frame: Number within the file, from 0.
        atoms: The structure with what else the file says about it.
        system: What the model sees, see `system_arrays`.
        sid: Its id, or "".
        labels: Values of targets that stand in the file, in the targets' units.
        tags: One line on how tags were read.
        forces_label: Forces that stand in the file (n, 3) [eV/Å], or None.
        stress_label: Stress that stands in the file, in that order (6,) [eV/Å^3], or
            None; it is only looked for where the stress is predicted.
        values: Predictions by target, in the targets' units.
        deviations: Standard deviations over an ensemble by target.
        failures: What went wrong, by target; such targets have no value.
        arrays: Predictions for atoms (``forces``, ``forces_std``), where asked for.
        tensors: Predictions for the cell (``stress``, ``stress_std``), in Voigt's order
            xx, yy, zz, yz, xz, xy (6,), where asked for.
    """

    file: str
    frame: int
    atoms: Atoms
    system: dict[str, np.ndarray]
    sid: str
    labels: dict[str, float]
    tags: str
    forces_label: np.ndarray | None = None
    stress_label: np.ndarray | None = None
    values: dict[str, float] = field(default_factory=dict)
    deviations: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    tensors: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """File and frame, for errors."""
        return f"{self.file}, frame {self.frame}"

    @property
    def graph(self) -> Data:
        """What the model sees, as a graph."""
        return system_graph(self.system, self.sid)


def read_structures(
    path: str | Path,
    names: Sequence[str],
    domain: Domain,
    tags: TagRule = "auto",
    frames: slice = ALL,
    energy_key: str | None = None,
    forces_key: str | None = None,
) -> Iterator[Structure | InputError]:
    """Read the structures of one file; an error in the place of those unusable.

    Args:
        path: A file ASE reads (all frames), ``.sdf`` and ``.mol`` (through RDKit),
            ``.smi``, ``.csv`` and ``.tsv`` (one conformer a SMILES), ``.lmdb``
            (molflt's or OCP's) or ``.pt`` (a saved batch of OCP).
        names: Targets whose labels are looked for.
        domain: Species outside of it are refused.
        tags: How to read the tags of files ASE reads, see `molflt.data.tags`.
        frames: Which structures of the file; counting from its end reads all of it
            into memory.
        energy_key: Name of the label of the target ``energy`` in files ASE reads;
            None: ``energy``. A frame may be without it.
        forces_key: Likewise of the forces.
    """
    if Path(path).suffix.lower() in (".lmdb", ".mdb", ".pt"):
        items = _records(path, domain)
    else:
        items = _frames(path, names, domain, tags, energy_key, forces_key)
    items = _chosen(items, frames, path)
    while True:
        try:
            item = next(items, None)
        except Exception as error:  # nothing after it can be read
            yield as_input_error(error, str(path))
            return
        if item is None:
            return
        yield item


def _chosen(
    items: Iterator[Structure | InputError], frames: slice, path: str | Path
) -> Iterator[Structure | InputError]:
    start, stop, step = frames.start, frames.stop, frames.step
    if any(number is not None and number < 0 for number in (start, stop, step)):
        chosen = iter(list(items)[frames])
    else:
        chosen = islice(items, start, stop, step)
    first = next(chosen, None)
    if first is None and frames != ALL:
        which = f"frames from {start} to {stop} by {step or 1}"
        if start is not None and frames in (one_frame(start), slice(start, None)):
            which = f"frame {start}"
        raise InputError(f"{path} has no {which}.")
    if first is not None:
        yield first
        yield from chosen


def digest_of(atoms: Atoms) -> str:
    """Return a digest of positions, cell and periodic directions, as text."""
    digest = hashlib.sha256(atoms.positions.tobytes())
    digest.update(np.asarray(atoms.cell).tobytes())
    digest.update(atoms.pbc.tobytes())
    return f"sha256 {digest.hexdigest()[:16]}"


def as_input_error(error: Exception, where: str) -> InputError:
    """Name the structure in an error that does not."""
    reason = " ".join(str(error).split()) or type(error).__name__
    named = isinstance(error, InputError) and where in reason
    if not isinstance(error, MolfltError):
        reason = f"it cannot be used ({type(error).__name__}: {reason})."
    return InputError(reason if named else f"{where}: {reason}")


def _records(path: str | Path, domain: Domain) -> Iterator[Structure | InputError]:
    """Read LMDB files and OCP's saved batches, whose records have OC20's tags."""
    for frame, record in enumerate(open_source(path, need_labels=False).records):
        where = f"{path}, record {frame}"
        try:
            item = _structure(path, frame, record())
            domain.refuse_unknown(item.system, where)
        except Exception as error:
            yield as_input_error(error, where)
            continue
        yield item


def _structure(path: str | Path, frame: int, graph: Data) -> Structure:
    labels = {name: float(graph[name]) for name in known_targets(graph)}
    used = bool((graph.tags >= 0).any())
    tags = "OC20 tags, as the records have them" if used else "no tags"
    forces = graph.forces.double().numpy() if "forces" in graph else None
    atoms, system = graph_to_atoms(graph), graph_arrays(graph)
    return Structure(str(path), frame, atoms, system, graph.sid, labels, tags, forces)


def _frames(
    path: str | Path,
    names: Sequence[str],
    domain: Domain,
    tags: TagRule,
    energy_key: str | None,
    forces_key: str | None,
) -> Iterator[Structure | InputError]:
    """Read the files that are no databases of graphs."""
    for frame, (where, atoms) in enumerate(iterate_structures(path)):
        if isinstance(atoms, InputError):
            yield atoms
            continue
        try:
            system, note = admit(atoms, domain, tags, where)
            labels, forces = _labels(atoms, names, where, energy_key, forces_key)
        except Exception as error:
            yield as_input_error(error, where)
            continue
        at = str(path), frame
        yield Structure(*at, atoms, system, id_of(atoms), labels, note, forces)


def _labels(
    atoms: Atoms,
    names: Sequence[str],
    where: str,
    energy_key: str | None,
    forces_key: str | None,
) -> tuple[dict[str, float], np.ndarray | None]:
    labels = {}
    named = {*atoms.info, *database_pairs(atoms)}
    energy = forces = None
    found = places(atoms)
    if energy_key is None or energy_key in found:
        energy, _ = read_labels(atoms, energy_key, None, where)
    if forces_key is None or forces_key in found:
        forces = read_forces(atoms, forces_key, where)
    for name in names:
        if name != "energy" and name not in named:
            continue
        value = energy
        if name != "energy":
            value = read_labels(atoms, name, None, where)[0]
        if value is not None and np.isfinite(value):
            labels[name] = value
    return labels, forces
