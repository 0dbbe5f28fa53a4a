"""Labelled graphs of any file with structures."""

import logging
from collections.abc import Iterator
from pathlib import Path

from ase import Atoms
from torch_geometric.data import Data

from molflt.data.formats.occupancy import refuse_disorder
from molflt.data.formats.structure_files import iterate_structures
from molflt.data.labels.frame_labels import (
    NoLabelError,
    label_keys,
    read_common,
    read_forces,
    read_relaxed,
    read_stress,
    read_targets,
)
from molflt.data.labels.rules import DEFAULT_RULES, LabelRules
from molflt.data.molecule import atoms_to_graph, with_missing
from molflt.errors import InputError

log = logging.getLogger(__name__)

GROUP = "split_group"
"""Field of a graph's group, which whoever splits takes off."""

OF_ALL_OR_NONE = {"forces": "forces", "pos_relaxed": "relaxed positions"}


def first_keys(path: str | Path) -> list[str]:
    """Return `label_keys` of the first frame of a file that can be read."""
    frames = (atoms for _, atoms in iterate_structures(path))
    first = next((a for a in frames if not isinstance(a, InputError)), None)
    return [] if first is None else label_keys(first)


def first_keys_in_words(path: str | Path) -> str:
    """Return a clause for errors about labels that are not there."""
    return f"the keys of the first are: {', '.join(first_keys(path)) or 'none'}"


def iterate_graphs(
    path: str | Path, rules: LabelRules = DEFAULT_RULES
) -> Iterator[Data]:
    """Read the labelled graphs of a file, in its order; an empty id where it has none.

    Args:
        path: Any file of `iterate_structures`.
        rules: How labels are read; a frame without them is an error, or left out where
            they may be missing, and all frames have forces, or relaxed positions, or
            none.

    Raises:
        InputError: Names file and frame: a missing label, or as `make_graph`.
    """
    first: Data | None = None
    bare, reason = 0, ""  # not the errors, which would keep all those atoms
    for where, atoms in iterate_structures(path):
        try:
            graph = frame_graph(where, atoms, rules)
        except NoLabelError as error:
            bare, reason = bare + 1, reason or str(error)
            continue
        first = graph if first is None else first
        for label, name in OF_ALL_OR_NONE.items():
            if (label in graph) != (label in first):
                here, there = ("no ", "some") if label in first else ("", "none")
                raise InputError(
                    f"{where}: there are {here}{name}, but frame 0 has {there}."
                )
        yield graph
    tell_left_out(path, bare)
    if first is None and bare:
        raise NoLabelError(reason)


def tell_left_out(path: str | Path, count: int) -> None:
    """Say how many structures of a file have no label at all."""
    if count:
        log.warning("%s: structures without any label, left out: %d.", path, count)


def frame_graph(
    where: str, atoms: Atoms | InputError, rules: LabelRules, need_labels: bool = True
) -> Data:
    """Make the graph of one frame with the labels it has.

    Args:
        where: File and frame, for errors.
        atoms: The frame, or why it cannot be read, which is raised.
        rules: How labels are read.
        need_labels: A frame without labels is an error.

    Raises:
        InputError: A label is missing, sites have several species, or as `make_graph`.
    """
    if isinstance(atoms, InputError):
        raise atoms
    refuse_disorder(atoms, where)
    labels = read_targets(atoms, rules, where, needed=need_labels)
    forces = stress = None
    if rules.have_forces:
        forces = read_forces(atoms, rules.forces_key, where)
    if rules.have_stress:
        names = rules.stress_key, rules.virial_key
        stress = read_stress(atoms, where, *names)
    graph = atoms_to_graph(
        atoms,
        tags=rules.tags,
        targets=labels,
        forces=forces,
        pos_relaxed=read_relaxed(atoms, where) if rules.have_relaxed else None,
        stress=None if stress is None else stress[None],
        where=where,
    )
    if rules.group_key:
        graph[GROUP] = read_common(atoms, rules.group_key, where)
    if rules.missing_labels:
        with_missing(graph, {spec.name for spec in rules.specs} - set(labels))
    if rules.have_stress and stress is None:
        with_missing(graph, ["stress"])
    return graph
