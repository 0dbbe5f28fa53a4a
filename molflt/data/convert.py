"""``molflt data convert``: labelled structures of any known format to molflt's LMDB."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from torch_geometric.data import Data

from molflt.data.dataset import with_unique_ids
from molflt.data.labels.frame_labels import NoLabelError
from molflt.data.labels.labelled_frames import (
    first_keys,
    first_keys_in_words,
    tell_left_out,
)
from molflt.data.labels.rules import DEFAULT_RULES, LabelRules
from molflt.data.lmdb.store import write_lmdb
from molflt.data.molecule import known_targets
from molflt.data.source import FILE_FORMAT, Source, open_source
from molflt.errors import InputError, UsageError


def convert(
    sources: Sequence[str | Path],
    out: str | Path,
    rules: LabelRules = DEFAULT_RULES,
    *,
    skip: Callable[[str], None] | None = None,
) -> int:
    """Write the records of all sources, in order, to one LMDB.

    Args:
        sources: Files that ASE reads, OCP's LMDB files or molflt's.
        out: The LMDB to write; it appears only when it is complete.
        rules: How labels of ASE's files are read.
        skip: Is told of each record or file that cannot be used, which is left out;
            None: the first is an error.

    Returns:
        Number of records.

    Raises:
        UsageError: No source, `out` is no ``.lmdb`` or is one of the sources; rules
            for files that ASE reads, and there is none.
        InputError: Names file and record that cannot be used; the sources' targets or
            labels differ; no structure has a label of a target; the disk is full.
    """
    out = Path(out)
    if out.suffix != ".lmdb":
        raise UsageError(f"The file to write must end in .lmdb, not {out}.")
    if not sources:
        raise UsageError("Name at least one file to convert.")
    if out.exists() and any(
        Path(source).exists() and out.samefile(source) for source in sources
    ):
        raise UsageError(f"{out} is one of the files to convert; write to another.")
    for file in sources:
        if not Path(file).exists():  # a wrong word, which is never left out
            raise InputError(f"No such file: {file}.")
    opened = [open_source(source, rules) for source in sources]
    if rules != DEFAULT_RULES and all(
        source.format != FILE_FORMAT for source in opened
    ):
        raise UsageError(
            f"{opened[0].path} knows what its labels are: targets, names, kind, "
            "reference, stress and tags are chosen for files that ASE reads."
        )
    first = opened[0]
    for source in opened[1:]:
        if source.targets != first.targets:
            raise InputError(
                f"{source.path} and {first.path} have different targets: "
                f"{_words(source)}; {_words(first)}."
            )
    lengths = [source.length for source in opened]
    return write_lmdb(
        out,
        _graphs(opened, skip),
        targets=first.targets,
        metadata=first.metadata if len(opened) == 1 else None,
        missing_labels=any(source.missing_labels for source in opened),
        total=None if None in lengths else sum(n for n in lengths if n is not None),
        progress=None,  # on a terminal
        precision=(
            "float32"
            if all(source.precision == "float32" for source in opened)
            else "float64"
        ),
    )


def overlooked(source: str | Path, rules: LabelRules) -> list[str]:
    """Return names in the first frame of ASE's file that look like other labels.

    Args:
        source: The file.
        rules: How its labels were read.
    """
    if open_source(source).format != FILE_FORMAT:
        return []
    used = (rules.energy_key, rules.forces_key, rules.stress_key, rules.virial_key)
    known = {*used, "free_energy", "energies", "forces", "stresses"}
    if rules.have_stress:
        known.add("stress")
    known |= {rules.key(spec.name) for spec in rules.specs} | {"energy"}
    if rules.have_relaxed:
        known.add("pos_relaxed")
    try:
        found = first_keys(source)
    except InputError:  # it was left out
        return []
    return [
        key
        for key in found
        if key not in known
        and re.search("energy|force|stress|virial|relaxed", key, re.IGNORECASE)
    ]


def _graphs(
    sources: Sequence[Source], skip: Callable[[str], None] | None
) -> Iterator[Data]:
    """Yield all graphs of all sources, their ids made unique.

    Raises:
        InputError: At the end, of a target that may be missing, if it always is.
    """
    unseen = {
        s.name for source in sources if source.missing_labels for s in source.targets
    }
    for graph in with_unique_ids(_labelled(sources, skip)):
        if unseen:
            unseen -= set(known_targets(graph))
        yield graph
    if unseen:
        path = sources[0].path
        of_ase = sources[0].format == FILE_FORMAT
        hint = f"; {first_keys_in_words(path)}" if of_ase else ""
        raise InputError(f"{path}: no structure has a label {min(unseen)!r}{hint}.")


def _labelled(
    sources: Sequence[Source], skip: Callable[[str], None] | None
) -> Iterator[Data]:
    """Yield all graphs of all sources that have a label."""
    for source in sources:
        bare, records = 0, iter(source.records)
        while True:
            try:  # a file may be unreadable from the start, or from somewhere on
                record = next(records, None)
                if record is None:
                    break
                yield record()
            except NoLabelError:
                bare += 1
            except InputError as error:
                if skip is None:
                    raise
                skip(str(error))
        tell_left_out(source.path, bare)


def _words(source: Source) -> str:
    return ", ".join(
        f"{spec.name} [{spec.unit}], {spec.kind}, {spec.reference or 'no reference'}"
        for spec in source.targets
    )
