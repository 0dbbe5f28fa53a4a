"""Predictions for structure files: streamed, in batches, whatever single ones do."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from ase.stress import full_3x3_to_voigt_6_stress
from torch_geometric.data import Data

from molflt.data.crystals import is_crystal
from molflt.data.labels.frame_labels import label_keys, read_stress
from molflt.data.tags import TagRule
from molflt.domain import Domain
from molflt.energy_target import potential_of
from molflt.errors import InputError, UsageError
from molflt.evaluation import Ensemble, Evaluation, Request
from molflt.frames import ALL
from molflt.graph.index import MODEL_FIELDS
from molflt.model import FLTModel
from molflt.read_structures import Structure, as_input_error, read_structures
from molflt.structures import MAX_PADDED_PAIRS

__all__ = ["Structure", "fill_batches", "predict_files", "read_structures"]

BATCH_ATOMS = {"cpu": 512, "cuda": 16384}
"""Atoms of a batch, padding included, by type of device."""

# Batches, and atoms if those are fewer, that are read together, to be sorted by size.
_AHEAD, _AHEAD_ATOMS = 16, 32768


def predict_files(
    model: FLTModel | Ensemble,
    paths: Sequence[str | Path],
    tags: TagRule = "auto",
    batch_size: int | None = None,
    batch_atoms: int | None = None,
    forces: bool = False,
    frames: slice = ALL,
    stress: bool = False,
    energy_key: str | None = None,
    forces_key: str | None = None,
) -> Iterator[Structure | InputError]:
    """Predict every structure of files, in their order.

    Files are read as they are needed, so that memory does not grow with their number
    or length. A structure that cannot be used, or the rest of a file that cannot be
    read, comes as an `InputError` in its place; a target that fails for a structure
    stands in its `failures`. The others are not affected.

    Args:
        model: The model (which is copied) or ensemble.
        paths: Files of any kind that `read_structures` knows.
        tags: How to read the tags of files ASE reads, see `molflt.data.tags`.
        batch_size: Largest number of structures evaluated at once; None: no limit.
        batch_atoms: Largest number of atoms evaluated at once, padding to the largest
            structure included; a larger structure is evaluated alone. None: what suits
            the device.
        forces: Also predict the forces of the potential energy.
        frames: Which structures of each file.
        stress: Also predict its stress, of structures with three periodic directions;
            others have none.
        energy_key: Name of the label of the target ``energy``, see `read_structures`.
        forces_key: Likewise of the forces.

    Raises:
        UsageError: Forces or stress of a model without a potential energy, or a name
            of an energy that is no target.
    """
    ensemble = model if isinstance(model, Ensemble) else Ensemble([model])
    domain = Domain(ensemble.models)
    names = [spec.name for spec in ensemble.targets]
    if energy_key and "energy" not in names:
        raise UsageError(
            f"{energy_key!r} names labels of a target called energy; this model has "
            f"{', '.join(names)}, whose labels are read by these names."
        )
    energy = None
    if forces or stress:
        what = "forces" if forces else "stress"
        energy = potential_of(ensemble.targets, f"Predicting {what}").name
    request = Request(names, energy=energy, forces=forces)
    strained = Request(names, energy=energy, forces=forces, stress=stress)
    limit = batch_atoms or BATCH_ATOMS.get(ensemble.device.type, BATCH_ATOMS["cuda"])
    keys = energy_key, forces_key
    items = chain.from_iterable(
        read_structures(path, names, domain, tags, frames, *keys) for path in paths
    )
    window = _AHEAD * limit if batch_atoms else max(_AHEAD * limit, _AHEAD_ATOMS)
    windows = _windows(items, window, _AHEAD * batch_size if batch_size else window)
    for read in windows:
        good = [item for item in read if isinstance(item, Structure)]
        failed: dict[int, InputError] = {}
        crystals = [item for item in good if stress and is_crystal(item.atoms)]
        apart = {id(item) for item in crystals}
        others = [item for item in good if id(item) not in apart]
        for group, wanted in ((crystals, strained), (others, request)):
            for batch in fill_batches(group, batch_size or len(good), limit):
                failed |= evaluate_structures(ensemble, batch, wanted)
        for crystal in crystals:
            _find_stress(crystal)
        for item in read:
            yield item if isinstance(item, InputError) else failed.get(id(item), item)


def _find_stress(item: Structure) -> None:
    """Look for a label of the stress; one that is none is a failure of it."""
    if "stress" in label_keys(item.atoms):
        try:
            label = read_stress(item.atoms, item.where)
            if label is not None and np.isfinite(label).all():
                item.stress_label = full_3x3_to_voigt_6_stress(label)
        except InputError as error:
            item.failures["stress"] = str(error)


def _windows(
    items: Iterator[Structure | InputError], atoms: int, count: int
) -> Iterator[list[Structure | InputError]]:
    """Cut a stream into lists of at most `count` items, of about `atoms` atoms."""
    window: list[Structure | InputError] = []
    total = 0
    for item in items:
        window.append(item)
        total += len(item.atoms) if isinstance(item, Structure) else 1
        if total >= atoms or len(window) >= count:
            yield window
            window, total = [], 0
    if window:
        yield window


def fill_batches(
    structures: Sequence[Structure], size: int, atoms: int
) -> Iterator[list[Structure]]:
    """Yield batches of similar size with at most `size` structures and `atoms` atoms.

    Counted are atoms with padding: structures times the atoms of the largest, as dense
    layers pad to it. Periodic structures and others come in different batches.
    """
    kinds = [(bool(item.atoms.pbc.any()), len(item.atoms)) for item in structures]
    batch: list[Structure] = []
    before = False
    for index in sorted(range(len(structures)), key=kinds.__getitem__):
        periodic, largest = kinds[index]  # sorted: the last is the largest
        count = len(batch) + 1
        if batch and (
            periodic != before
            or count > size
            or count * largest > atoms
            or count * largest**2 > MAX_PADDED_PAIRS
        ):
            yield batch
            batch = []
        before = periodic
        batch.append(structures[index])
    if batch:
        yield batch


def evaluate_structures(
    ensemble: Ensemble, structures: Sequence[Structure], request: Request
) -> dict[int, InputError]:
    """Fill in predictions; return the errors by `id` of the structures that fail.

    Features of a batch fail as a whole, of which one structure may be the cause: then
    each is evaluated alone.
    """
    try:
        graphs = _joined([item.system for item in structures])
        found = ensemble.evaluate(graphs.to(ensemble.device), request)
    except Exception as error:  # whatever a structure does to the model
        if len(structures) > 1:
            failed: dict[int, InputError] = {}
            for item in structures:
                failed |= evaluate_structures(ensemble, [item], request)
            return failed
        return {id(structures[0]): as_input_error(error, structures[0].where)}
    starts = np.cumsum([0, *(len(item.atoms) for item in structures)])
    for row, item in enumerate(structures):
        _fill(item, row, slice(starts[row], starts[row + 1]), request, found)
    return {
        id(item): InputError(next(iter(item.failures.values())))
        for item in structures
        if not item.values
    }


def _joined(systems: Sequence[dict[str, np.ndarray]]) -> Data:
    """Return structures as one batch; by way of graphs it takes ten times as long."""
    joined = {name: np.concatenate([s[name] for s in systems]) for name in MODEL_FIELDS}
    sizes = [len(system["z"]) for system in systems]
    joined["batch"] = np.repeat(np.arange(len(systems)), sizes)
    return Data(**{name: torch.from_numpy(array) for name, array in joined.items()})


def _fill(
    item: Structure, row: int, atoms: slice, request: Request, found: Evaluation
) -> None:
    for name in request.targets:
        error = found.failures.get(name, {}).get(row)
        value = float(found.arrays[name][row])
        if error is not None:
            sentence = str(as_input_error(error, f"{item.where}, {name}"))
            item.failures[name] = sentence
        elif not np.isfinite(value):
            item.failures[name] = f"{item.where}, {name}: the prediction is not finite."
        else:
            item.values[name] = value
            if f"{name}_std" in found.arrays:
                item.deviations[name] = float(found.arrays[f"{name}_std"][row])
    for end in ("", "_std"):
        if request.forces and f"forces{end}" in found.arrays:
            item.arrays[f"forces{end}"] = found.arrays[f"forces{end}"][atoms]
        if request.stress and f"stress{end}" in found.arrays:
            matrix = found.arrays[f"stress{end}"][row]
            item.tensors[f"stress{end}"] = full_3x3_to_voigt_6_stress(matrix)
    if "forces" in item.arrays and not np.isfinite(item.arrays["forces"]).all():
        item.arrays.clear()
        item.failures["forces"] = f"{item.where}, forces: they are not finite."
    if "stress" in item.tensors and not np.isfinite(item.tensors["stress"]).all():
        item.tensors.clear()
        item.failures["stress"] = f"{item.where}, stress: it is not finite."
