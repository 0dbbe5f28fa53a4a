"""Predictions for ASE structures: graphs, batches, arrays in input order."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols
from ase.symbols import Symbols
from torch_geometric.data import Batch, Data

from molflt.admission import admit
from molflt.data.formats.plain import id_of
from molflt.data.molecule import system_graph
from molflt.data.tags import TagRule
from molflt.domain import Domain
from molflt.errors import InputError, UsageError
from molflt.graph.index import MODEL_FIELDS
from molflt.warn import warn

if TYPE_CHECKING:
    from molflt.model import FLTModel

# A batch is padded to its largest graph: one large graph must not be met by many small.
MAX_PADDED_PAIRS = 2**21


@torch.no_grad()
def predict_graphs(
    model: "FLTModel", graphs: Sequence[Data], batch_size: int = 32
) -> dict[str, np.ndarray]:
    """Return every target of `graphs`, in order, float64 in the target's unit."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    parts: dict[str, list[np.ndarray]] = {spec.name: [] for spec in model.targets}
    done = 0
    try:
        for chunk in _chunks(graphs, batch_size):
            names = [_name(done + row, graph) for row, graph in enumerate(chunk)]
            done += len(chunk)
            bare = [_bare(*pair) for pair in zip(chunk, names, strict=True)]
            batch = Batch.from_data_list(bare).to(device)
            for name, value in model(batch).items():
                if not value.isfinite().all():
                    bad = int((~value.isfinite()).nonzero()[0])
                    raise InputError(
                        f"The {name} of structure {names[bad]} is not a finite "
                        "number; check its positions and the checkpoint."
                    )
                parts[name].append(value.cpu().numpy())
    finally:
        model.train(was_training)
    empty = np.zeros(0)
    return {name: np.concatenate([empty, *part]) for name, part in parts.items()}


def predict_structures(
    model: "FLTModel", structures: Sequence[Atoms], batch_size: int, tags: TagRule
) -> dict[str, np.ndarray]:
    """Return every target of ASE structures; see `FLTModel.predict`."""
    if isinstance(structures, Atoms):
        raise UsageError("predict takes a list of structures; write predict([atoms]).")
    graphs, domain = [], Domain([model])
    remarked: dict[str, list[int]] = {}
    for index, atoms in enumerate(structures):
        where = f"Structure {index}"
        if not isinstance(atoms, Atoms):
            raise UsageError(
                f"{where} is no ase.Atoms but {type(atoms).__name__}; ase.io.read "
                "reads files, molflt.data.smiles_to_atoms makes conformers of SMILES."
            )
        if formula := _formula(atoms.numbers):
            where = f"{where} ({formula})"
        system, _ = admit(atoms, domain, tags, where)
        for remark in domain.remarks(system):
            remarked.setdefault(remark, []).append(index)
        graphs.append(system_graph(system, id_of(atoms)))
    for remark, found in remarked.items():
        warn(f"{len(found)} structures, such as number {found[0]}, have {remark}.")
    return predict_graphs(model, graphs, batch_size)


def _name(index: int, graph: Data) -> str:
    """Return number, formula and, if it has one, id of a structure, for errors."""
    sid = graph.get("sid")
    marks = _formula(graph.z.numpy(force=True)), "" if sid is None else str(sid)
    words = ", ".join(filter(None, marks))
    return f"{index} ({words})" if words else str(index)


def _formula(numbers: np.ndarray) -> str:
    """Return a formula, empty if they are no atomic numbers: the model refuses them."""
    if numbers.ndim == 1 and set(numbers.tolist()) <= set(range(len(chemical_symbols))):
        return str(Symbols(numbers).get_chemical_formula())
    return ""


def _bare(graph: Data, name: str) -> Data:
    """Keep what the model reads; labels only some graphs have cannot be batched."""
    return Data(sid=name, **{key: graph[key] for key in MODEL_FIELDS if key in graph})


def _chunks(graphs: Sequence[Data], size: int) -> Iterator[Sequence[Data]]:
    """Yield at most `size` graphs at once, fewer where padding would cost too much."""
    start, largest = 0, 0
    for index, graph in enumerate(graphs):
        largest = max(largest, len(graph.z))
        count = index - start
        if count and (count == size or (count + 1) * largest**2 > MAX_PADDED_PAIRS):
            yield graphs[start:index]
            start, largest = index, len(graph.z)
    if start < len(graphs):
        yield graphs[start:]
