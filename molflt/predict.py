"""Predictions for structure files, in batches, one bad structure at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
from ase import Atoms
from torch_geometric.data import Data

from molflt.data.ase_frames import iterate_atoms, read_labels
from molflt.data.molecule import atoms_to_graph, graph_to_atoms, target_names
from molflt.data.smiles import iterate_smiles
from molflt.data.source import open_source
from molflt.data.tags import TagRule, map_tags
from molflt.errors import InputError, MolfltError
from molflt.model import FLTModel
from molflt.structures import predict_graphs, refuse_unknown_species


@dataclass(frozen=True)
class Structure:
    """One structure of an input file.

    Args:
        file: Path as given.
        frame: Number within the file, from 0.
        atoms: The structure with what else the file says about it.
        graph: What the model sees.
        labels: Values of targets that stand in the file, in the targets' units.
        tags: One line on how tags were read.
        values: Predictions by target, in the targets' units.
    """

    file: str
    frame: int
    atoms: Atoms
    graph: Data
    labels: dict[str, float]
    tags: str
    values: dict[str, float] = field(default_factory=dict)


def predict_files(
    model: FLTModel,
    paths: Sequence[str | Path],
    tags: TagRule = "auto",
    batch_size: int = 32,
) -> Iterator[Structure | InputError]:
    """Predict every structure of files, in their order.

    Files are read as they are needed and `batch_size` structures are held at a time. A
    structure that cannot be used, or the rest of a file that cannot be read, comes as
    an `InputError` in its place; the others are not affected.

    Args:
        model: The model, on the device that shall evaluate it.
        paths: Files ASE reads (all frames), ``.smi`` (one conformer a SMILES),
            ``.lmdb`` (molflt's or OCP's) or ``.pt`` (a saved batch of OCP).
        tags: How to read the tags of files ASE reads, see `molflt.data.tags`.
        batch_size: Structures evaluated at once.
    """
    items = (item for path in paths for item in read_structures(model, path, tags))
    while batch := list(islice(items, batch_size)):
        good = [item for item in batch if isinstance(item, Structure)]
        failed = _evaluate(model, good, batch_size)
        for item in batch:
            yield item if isinstance(item, InputError) else failed.get(id(item), item)


def _evaluate(
    model: FLTModel, structures: Sequence[Structure], batch_size: int
) -> dict[int, InputError]:
    """Fill in `values`; return the errors by `id` of the structures that fail.

    A batch fails as a whole, of which one structure may be the cause: then each is
    evaluated alone.
    """
    if not structures:
        return {}
    try:
        values = predict_graphs(model, [item.graph for item in structures], batch_size)
    except Exception as error:  # whatever a structure does to the model
        if len(structures) > 1:
            failed: dict[int, InputError] = {}
            for item in structures:
                failed |= _evaluate(model, [item], batch_size)
            return failed
        return {id(structures[0]): as_input_error(error, _where(structures[0]))}
    for row, item in enumerate(structures):
        item.values.update({name: float(v[row]) for name, v in values.items()})
    return {
        id(item): InputError(f"{_where(item)}: the prediction is not finite.")
        for item in structures
        if not np.isfinite(list(item.values.values())).all()
    }


def as_input_error(error: Exception, where: str) -> InputError:
    """Name the structure in an error that does not."""
    reason = " ".join(str(error).split()) or type(error).__name__
    named = isinstance(error, InputError) and where in reason
    if not isinstance(error, MolfltError):
        reason = f"it cannot be used ({type(error).__name__}: {reason})."
    return InputError(reason if named else f"{where}: {reason}")


def _where(item: Structure) -> str:
    return f"{item.file}, frame {item.frame}"


def read_structures(
    model: FLTModel, path: str | Path, tags: TagRule = "auto"
) -> Iterator[Structure | InputError]:
    """Read the structures of one file; see `predict_files`.

    Args:
        model: Its targets' labels are looked for, its unknown species refused.
        path: The file.
        tags: How to read tags.
    """
    names = [spec.name for spec in model.targets]
    suffix = Path(path).suffix.lower()
    records = suffix in (".lmdb", ".mdb", ".pt")
    items = _records(path) if records else _frames(path, names, tags)
    while True:
        try:
            item = next(items, None)
        except Exception as error:  # nothing after it can be read
            yield as_input_error(error, str(path))
            return
        if item is None:
            return
        if isinstance(item, Structure):
            try:
                refuse_unknown_species(model, item.graph, _where(item))
            except InputError as error:
                yield error
                continue
        yield item


def _records(path: str | Path) -> Iterator[Structure | InputError]:
    """Read LMDB files and OCP's saved batches, whose records have OC20's tags."""
    for frame, record in enumerate(open_source(path, need_energy=False).records):
        try:
            item = _structure(path, frame, record())
        except Exception as error:
            yield as_input_error(error, f"{path}, record {frame}")
            continue
        yield item


def _structure(path: str | Path, frame: int, graph: Data) -> Structure:
    labels = {name: float(graph[name]) for name in target_names(graph)}
    used = bool((graph.tags >= 0).any())
    tags = "OC20 tags, as the records have them" if used else "no tags"
    return Structure(str(path), frame, graph_to_atoms(graph), graph, labels, tags)


def _frames(
    path: str | Path, names: list[str], tags: TagRule
) -> Iterator[Structure | InputError]:
    """Read frames of ASE's files and conformers of SMILES."""
    smiles = Path(path).suffix.lower() == ".smi"
    frames = iterate_smiles(path) if smiles else iterate_atoms(path)
    for frame, (where, atoms) in enumerate(frames):
        if isinstance(atoms, InputError):
            yield atoms
            continue
        try:
            note = map_tags(atoms, tags, where)[1]
            graph = atoms_to_graph(atoms, tags=tags, where=where)
            labels = _labels(atoms, names, where)
        except Exception as error:
            yield as_input_error(error, where)
            continue
        yield Structure(str(path), frame, atoms, graph, labels, note)


def _labels(atoms: Atoms, names: list[str], where: str) -> dict[str, float]:
    labels = {}
    pairs = atoms.info.get("key_value_pairs")
    places = {*atoms.info, *(pairs if isinstance(pairs, dict) else {})}
    for name in names:
        if name != "energy" and name not in places:
            continue
        value = read_labels(atoms, None if name == "energy" else name, None, where)[0]
        if value is not None and np.isfinite(value):
            labels[name] = value
    return labels
