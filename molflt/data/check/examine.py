"""``molflt data check`` and ``describe``: what a data file holds, and what is wrong."""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols
from torch_geometric.data import Data

from molflt.data.check.energy_outliers import EnergyOutliers
from molflt.data.check.force_hints import work_hint
from molflt.data.check.report import Range, Report
from molflt.data.check.stress_hints import stress_hint
from molflt.data.check.stress_values import stress_value_hint
from molflt.data.check.unit_hints import SAMPLE, energy_hint, force_hint, length_hint
from molflt.data.labels.frame_labels import NoLabelError
from molflt.data.labels.labelled_frames import first_keys_in_words
from molflt.data.labels.rules import DEFAULT_RULES, LabelRules
from molflt.data.molecule import (
    ARRAY_LABELS,
    is_missing,
    known_targets,
    make_graph,
    without_missing,
)
from molflt.data.progress import track
from molflt.data.source import FILE_FORMAT, OWN_FORMAT, open_source
from molflt.errors import InputError

_SHOWN = 20  # defects that are kept with their text


def examine(path: str | Path, rules: LabelRules = DEFAULT_RULES) -> Report:
    """Read every record of a file; note what it holds and what is wrong with it.

    Defects are records that cannot be used: damaged, a value that is not finite, an
    unknown species, two atoms at one place, a label that others have. Warnings are
    duplicates, ids that come twice, values that look like another unit, forces and
    stress that do not belong to the energies, single energies far from all others.

    Args:
        path: An LMDB of molflt or OCP, or any file ASE reads.
        rules: How labels of ASE's files are read.

    Raises:
        InputError: The file as a whole cannot be read.
    """
    source = open_source(path, rules, need_labels=False)
    words = [
        f"{spec.name} [{spec.unit}], {spec.kind}"
        + (f", {spec.reference}" if spec.reference else "")
        for spec in source.targets
    ]
    names = [spec.name for spec in source.targets if source.missing_labels]
    survey = _Survey(Report(str(path), source.format, words), names)
    purpose = f"reading {Path(path).name}"
    records = enumerate(track(source.records, purpose, total=source.length))
    while True:
        try:  # a file may be unreadable from the start, or from somewhere on
            index, record = next(records, (-1, None))
            if record is None:
                break
            graph = record()
            if source.format == OWN_FORMAT:  # read without the checks of `make_graph`
                _check_again(graph, f"{path}, record {index}")
            survey.add(index, graph)
        except NoLabelError:
            survey.bare += 1
        except InputError as error:
            survey.defect(str(error))
    return survey.finished()


def _check_again(graph: Data, where: str) -> None:
    graph = without_missing(graph)
    make_graph(
        *(graph.z.numpy(), graph.pos.numpy()),
        cell=graph.cell.numpy(),
        pbc=graph.pbc.numpy(),
        tags=graph.tags.numpy(),
        fixed=graph.fixed.numpy(),
        targets={name: graph[name].item() for name in known_targets(graph)},
        **{name: graph[name].numpy() for name in ARRAY_LABELS if name in graph},
        where=where,
    )


class _Survey:
    """Fills a report, record by record; not all have all labels of `may_lack`."""

    def __init__(self, report: Report, may_lack: list[str]) -> None:
        self._report, self._may_lack = report, may_lack
        self.bare = 0  # structures without any label, which training leaves out
        self._elements: Counter[str] = Counter()
        self._pbc: Counter[str] = Counter()
        self._tags: Counter[int] = Counter()
        self._names: Counter[tuple[str, ...]] = Counter()
        self._first_with: dict[tuple[str, ...], int] = {}
        self._sids: set[str] = set()
        self._repeated_sids: list[str] = []
        self._hashes: dict[bytes, int] = {}
        self._duplicates: list[tuple[int, int]] = []
        self._energies = EnergyOutliers()
        self._sample: list[Data] = []
        self._strained: list[Data] = []  # with stress, perhaps after many without

    def defect(self, sentence: str) -> None:
        self._report.num_defects += 1
        if len(self._report.defects) < _SHOWN:
            self._report.defects.append(sentence)

    def add(self, index: int, graph: Data) -> None:
        report = self._report
        report.num_structures += 1
        report.atoms.add(len(graph.z))
        self._elements.update(chemical_symbols[z] for z in graph.z.unique().tolist())
        self._pbc[" ".join("T" if flag else "F" for flag in graph.pbc[0].tolist())] += 1
        self._tags.update(graph.tags.tolist())
        report.num_fixed += int(graph.fixed.sum())
        names = known_targets(graph)
        for name in names:
            report.labels.setdefault(name, Range()).add(float(graph[name]))
        if "energy" in names:
            self._energies.add(index, graph.z, float(graph.energy))
        for name in ("forces", "stress"):
            if name not in graph:
                continue
            names = [*names, name]
            if is_missing(graph, name):  # of what is no crystal
                continue
            sizes = graph.forces.norm(dim=1) if name == "forces" else graph.stress
            span = report.labels.setdefault(name, Range())
            for size in sizes.flatten().tolist():
                span.add(size)
        self._names[tuple(names)] += 1
        self._first_with.setdefault(tuple(names), index)
        if graph.sid:
            if graph.sid in self._sids:
                self._repeated_sids.append(graph.sid)
            self._sids.add(graph.sid)
        key = _fingerprint(graph)
        if (first := self._hashes.setdefault(key, index)) != index:
            self._duplicates.append((first, index))
        known = without_missing(graph)
        if len(self._sample) < SAMPLE:
            self._sample.append(known)
        if "stress" in known and len(self._strained) < SAMPLE:
            self._strained.append(known)

    def finished(self) -> Report:
        report = self._report
        report.elements = dict(self._elements.most_common())
        report.pbc = dict(self._pbc.most_common())
        report.tags = dict(sorted(self._tags.items()))
        self._compare_labels()
        if self.bare:
            report.warnings.append(f"structures without any label: {self.bare:,}")
        if self._repeated_sids:
            report.warnings.append(
                f"{len(self._repeated_sids):,} ids come more than once, such as "
                f"{self._repeated_sids[0]!r}"
            )
        if self._duplicates:
            first, second = self._duplicates[0]
            report.warnings.append(
                f"{len(self._duplicates):,} structures are copies of others, such as "
                f"record {second} of record {first}"
            )
        hints = (
            energy_hint(self._sample, "energy"),
            self._energies.hint(),
            force_hint(self._sample),
            work_hint(self._sample),
            stress_hint(self._strained) or stress_value_hint(self._strained),
            self._no_forces(),
            length_hint(self._sample),
        )
        report.warnings += [hint for hint in hints if hint]
        return report

    def _no_forces(self) -> str | None:
        """Say if there are forces, and they are nothing."""
        forces = self._report.labels.get("forces")
        if forces is None or forces.maximum > 0 or self._report.atoms.maximum < 2:
            return None
        return "all forces are 0, as they are in perfect crystals alone"

    def _compare_labels(self) -> None:
        report = self._report
        for name in self._may_lack:
            if name not in report.labels:
                self.defect(f"{report.path}: no structure has a label {name!r}.")
        # Forces or stress without an energy train nothing.
        targets = {name for names in self._names for name in names} - {*ARRAY_LABELS}
        if len(self._names) > 1:
            sets = "; ".join(
                f"{count:,} have {', '.join(names) or 'none'} (the first is record "
                f"{self._first_with[names]})"
                for names, count in self._names.most_common()
            )
            rest = {frozenset(names) - {*self._may_lack} for names in self._names}
            if self._may_lack and len(rest) == 1:
                report.warnings.append(f"not all have all labels: {sets}")
            else:
                self.defect(f"{report.path}: labels differ between structures: {sets}.")
        elif report.num_structures and not targets:
            if report.format == FILE_FORMAT:
                keys = first_keys_in_words(report.path)
                self.defect(
                    f"{report.path}: no structure has an energy; {keys}; name it "
                    "with --energy-key, other quantities with --target."
                )
            else:
                report.warnings.append("no labels: good for predictions only")


def _fingerprint(graph: Data) -> bytes:
    """Hash species, lattice and positions relative to the first atom, to 1e-4 Å."""
    relative = (graph.pos - graph.pos[:1]).numpy()
    digest = hashlib.blake2b(graph.z.numpy().tobytes(), digest_size=16)
    for array in (relative, graph.cell.numpy()):
        digest.update((np.round(array, 4) + 0.0).tobytes())  # no negative zero
    digest.update(graph.pbc.numpy().tobytes())
    return digest.digest()
