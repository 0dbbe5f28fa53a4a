"""Your own data: structures with labels in any file that ASE reads."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch_geometric.data import Data

from molflt.data.check.relaxed_hints import relaxed_hint
from molflt.data.datamodule import GraphDataModule, Splits
from molflt.data.dataset import (
    GraphDataset,
    GraphList,
    GraphSubset,
    with_unique_ids,
)
from molflt.data.labels.labelled_frames import (
    GROUP,
    OF_ALL_OR_NONE,
    first_keys_in_words,
    iterate_graphs,
)
from molflt.data.labels.rules import LabelRules
from molflt.data.lmdb.store import LMDBDataset
from molflt.data.molecule import is_missing
from molflt.data.progress import track
from molflt.data.random_parts import random_parts
from molflt.data.tags import TagRule
from molflt.errors import InputError, UsageError
from molflt.targets import TargetKind, TargetSpec

Files = str | Path | list[str] | list[Path]
log = logging.getLogger(__name__)
_REFERENCE = "as in the training files"


class AtomsFiles(GraphDataModule):
    """Your own data: labelled structures in any file ASE reads, or molflt's LMDB.

    Also molecules of SDF files, and tables (.csv) of SMILES, which become conformers.
    The target is ``energy`` [eV], or what `targets` says; forces [eV/Å] are read where
    the files have them. Files are read into memory; for more than fits, ``molflt data
    convert`` to LMDB.

    Args:
        train: Training file or files.
        val: Validation file or files; None: a random part of the training files.
        test: Test file or files; None: see `test_fraction`.
        energy_key: Name of the energy in `info`, a calculator's results or a database;
            None: ``energy``. A frame without it is an error.
        forces_key: Name of the forces; None: ``forces``, where there are any.
        stress: Whether to read the stress; a frame that is periodic in three directions
            without it is an error, others have none and do not count where it is
            learned.
        val_fraction: Part of the training files that validates if `val` is None.
        test_fraction: Part of the training files that is a test set if `test` is None;
            0: there is none. It depends on the files and `seed` alone.
        kind: ``potential``: energy of the geometry in the file; ``relaxed``: energy
            after relaxation of it; see `TargetSpec`. The positions after relaxation are
            read from an array ``pos_relaxed``, where the files have it.
        reference: What zero energy means; kept in checkpoints, printed by predictions.
        tags: How to read the tags of slabs, see `molflt.data.tags`.
        batch_size: Structures of a training batch.
        eval_batch_size: Structures of a validation or test batch; None: `batch_size`.
        num_workers: Loader processes.
        seed: Seed of the random part, the order of training structures, `max_train`.
        max_train: Use this many training structures, drawn at random; None: all.
        in_memory: Keep graphs of LMDB files in memory after the first reading.
        targets: What to learn instead of an energy alone: numbers that stand in the
            files by the targets' names, see `TargetSpec`.
        missing_labels: Whether a structure may lack some of the targets; it is then
            left out of their loss, errors and statistics.
        stress_key: Name of the stress, which is then read; None: ``stress``.
        virial_key: Name of the virial [eV], from which the stress is read, -virial / V.
        group_key: Name of a number or text, among the places of the labels: structures
            of the training files in which it is the same come into the same random
            part, such as conformers of a molecule, or molecules of a scaffold.

    Raises:
        InputError: A file is missing, or a target cannot have its name.
        UsageError: The fractions leave nothing to train on, both a test file and
            a `test_fraction` are given, groups where no part is drawn, a training file
            is a validation or test file, ASE's and molflt's files are mixed, or an
            option says what the labels of an LMDB mean: it knows.
    """

    def __init__(
        self,
        train: Files,
        val: Files | None = None,
        test: Files | None = None,
        energy_key: str | None = None,
        forces_key: str | None = None,
        val_fraction: float = 0.1,
        kind: TargetKind = "potential",
        reference: str = _REFERENCE,
        tags: TagRule = "auto",
        batch_size: int = 32,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
        max_train: int | None = None,
        in_memory: bool = True,
        stress: bool = False,
        test_fraction: float = 0.0,
        targets: list[TargetSpec] | None = None,
        missing_labels: bool = False,
        stress_key: str | None = None,
        virial_key: str | None = None,
        group_key: str | None = None,
    ) -> None:
        super().__init__(
            batch_size, eval_batch_size, num_workers, seed, max_train, in_memory
        )
        if not 0 < val_fraction < 1:
            raise UsageError(f"val_fraction must lie in (0, 1), not {val_fraction}.")
        held_out = test_fraction + (val_fraction if val is None else 0.0)
        if not (test_fraction >= 0 and held_out < 1):
            raise UsageError(
                f"test_fraction {test_fraction} must not be negative, and leave "
                "structures to train on."
            )
        if test_fraction and test is not None:
            raise UsageError("test_fraction has no meaning where test names files.")
        if group_key and val is not None and not test_fraction:
            raise UsageError("group_key has no meaning where no part is drawn.")
        named = {"train": train, "val": val, "test": test}
        self._files = {split: _listed(files) for split, files in named.items()}
        if targets and reference == _REFERENCE:
            reference = ""
        self._rules = LabelRules(
            *(energy_key, forces_key, stress, tags, kind, reference),
            *(tuple(targets or ()), missing_labels, stress_key, virial_key),
            group_key=group_key,
        )
        self.val_fraction, self.test_fraction = val_fraction, test_fraction
        self._targets: tuple[TargetSpec, ...] = self._rules.specs
        if (first := self._files["train"][0]).suffix == ".lmdb":
            self._targets = LMDBDataset(first).targets
            if group_key:
                raise UsageError(
                    f"{first} has no groups; split the files before molflt data "
                    "convert, and name the parts by train, val and test."
                )
            _refuse_rules(first, self._rules, self._targets[0])
        seen = {path.resolve() for path in self._files["train"]}
        for split in ("val", "test"):
            for path in self._files[split]:
                if path.resolve() in seen:
                    raise UsageError(
                        f"{path} is named by train and by {split}: errors would be "
                        "those of structures that were trained on."
                    )

    @property
    def targets(self) -> tuple[TargetSpec, ...]:
        """The energy, or what was chosen; of LMDB files whatever they hold."""
        return self._targets

    @property
    def description(self) -> str:
        """The names of the training files."""
        return ", ".join(path.name for path in self._files["train"])

    def load_splits(self) -> Splits:
        """Read the files.

        Raises:
            InputError: Names file and frame that cannot be used, or there are too few
                structures to set some aside.
        """
        whole = self._read("train")
        sets = {n: self._read(n) for n in ("test", "val") if self._files[n]}
        # Tests first: they stay the same whatever validates.
        fractions = {"test": self.test_fraction, "val": self.val_fraction}
        drawn = {n: f for n, f in fractions.items() if f and n not in sets}
        train = whole
        if drawn:
            try:
                parts = random_parts(self._groups_of(whole), drawn, self.seed)
            except InputError as error:
                raise InputError(f"{self._files['train'][0]}: {error}") from error
            sets |= {name: GraphSubset(whole, parts[name]) for name in drawn}
            train = GraphSubset(whole, parts["train"])
        test = {"test": sets["test"]} if "test" in sets else {}
        return train, {"val": sets["val"]}, test

    def _groups_of(self, whole: GraphDataset) -> np.ndarray:
        """Return the group of each structure (n,), by itself without `group_key`."""
        if not self._rules.group_key:
            return np.arange(len(whole))
        groups = []
        for index in range(len(whole)):
            graph = whole[index]
            groups.append(graph[GROUP])
            del graph[GROUP]  # no field of a batch
        return np.array(groups)

    def _read(self, split: str) -> GraphDataset:
        files = self._files[split]
        rules = self._rules
        if split != "train":
            rules = replace(rules, group_key=None)
        if any(path.suffix == ".lmdb" for path in files):
            if len(files) > 1:
                raise UsageError(
                    f"{split} is several files with an LMDB among them; make one file "
                    "of them with `molflt data convert`."
                )
            dataset = LMDBDataset(files[0])
            if dataset.targets != self._targets:
                raise InputError(f"{files[0]} has other targets than the training set.")
            return dataset
        frames = (
            graph
            for path in files
            for graph in track(iterate_graphs(path, rules), f"reading {path.name}")
        )
        graphs = list(with_unique_ids(frames))
        for hint in (relaxed_hint(path, rules) for path in files):
            if hint:
                log.warning("%s", hint)
        self._tell_missing(split, graphs)
        for label, name in OF_ALL_OR_NONE.items():
            has = [label in graph for graph in graphs]
            if any(has) and not all(has):
                raise InputError(
                    f"Of the {split} files {', '.join(map(str, files))} some have "
                    f"{name} and some have none."
                )
        return GraphList(graphs)

    def _tell_missing(self, split: str, graphs: list[Data]) -> None:
        """Refuse a target that no training structure has; warn of others.

        Raises:
            InputError: Names file and target.
        """
        for spec in self._targets if self._rules.missing_labels else ():
            if all(is_missing(graph, spec.name) for graph in graphs):
                path = self._files[split][0]
                words = f"{path}: no structure has a label {spec.name!r}"
                if split == "train":
                    raise InputError(f"{words}; {first_keys_in_words(path)}.")
                log.warning("%s, so %s has no error of it.", words, split)


def _refuse_rules(path: Path, rules: LabelRules, own: TargetSpec) -> None:
    """Refuse rules that say of an LMDB what it does not; its stress is read anyway."""
    silent = LabelRules(
        stress=rules.stress,
        kind=rules.kind if rules.kind == own.kind else "potential",
        reference=rules.reference and _REFERENCE,
    )
    if chosen := rules.differing(silent):
        raise UsageError(
            f"{path} knows what its labels are, so data.init_args.{chosen[0]} is not "
            "read; molflt data convert has such an option, for the files it reads."
        )


def _listed(files: Files | None) -> list[Path]:
    if files is None:
        return []
    paths = list(map(Path, [files] if isinstance(files, str | Path) else files))
    if not paths:
        raise UsageError("An empty list of files.")
    for path in paths:
        if not path.exists():
            raise InputError(f"No such file: {path}.")
    return paths
