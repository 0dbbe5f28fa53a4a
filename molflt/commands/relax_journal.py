"""Results of a relaxation while it runs: kept as they come, put in order at the end."""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from molflt.commands.relax_records import Record, Terms, has_records, put_back
from molflt.errors import MolfltError, UsageError
from molflt.files import atomic_path, lock, writing
from molflt.relax.relaxation import Job

SAVE_EVERY = 60.0
"""Seconds after which the structures in work are written down again."""

_LEAST_WORK = 50  # times as long as writing took, where that is more


@dataclass(frozen=True)
class Entry:
    """Where the last record of a structure stands in the journal, and its state."""

    start: int
    end: int
    steps: int
    converged: bool


class Journal:
    """An extended XYZ file ``OUT.partial.extxyz`` beside the output.

    A record is the structure as it was when it was done, or when the run was
    interrupted; `info` has ``relax_index``, ``relax_file``, ``relax_frame``,
    ``relax_steps``, ``relax_converged``, ``relax_close_atoms``, ``relax_fmax`` [eV/Å;
    NaN: not computed where the atoms are], ``relax_initial_energy`` [eV], and digests
    of the input and the checkpoints, ``relax_origin`` and ``relax_model``; where the
    cell is relaxed, also ``relax_pressure`` [GPa]. `finish` writes the last records in
    the order of the input. Memory holds a few numbers a structure.

    Those in work are written to ``OUT.working.extxyz`` every minute, each time anew,
    for runs that end without a word; the next run puts them into the journal.

    Args:
        out: The output, .extxyz.
        resume: Go on with what an earlier run left, if there is anything.
        pressure: Pressure at which cells are relaxed [GPa]; None: they stay.
        model: A digest of the checkpoints.

    Raises:
        UsageError: An earlier run left something, and `resume` is not asked for, or it
            did not relax the cells, or at another pressure or with other checkpoints;
            another run writes it now.
        InputError: The file cannot be written.
    """

    def __init__(
        self, out: Path, resume: bool, pressure: float | None = None, model: str = ""
    ) -> None:
        self.out, self._terms = out, Terms(pressure, model)
        self.path, self._working = (
            out.with_name(f"{out.stem}.{state}{out.suffix}")
            for state in ("partial", "working")
        )
        self.entries: dict[int, Entry] = {}
        self._due = time.monotonic() + SAVE_EVERY
        # Where records come from, for errors, and whether they are only copied yet.
        self._source, self._is_copy = self.path, False
        with writing(self.path):
            self.path.touch()
        self._file = self._open()
        try:
            self._begin(resume)
        except MolfltError:
            self._close(has_records(self.path))
            raise

    def _open(self) -> IO[bytes]:
        with writing(self.path):
            file = open(self.path, "r+b")  # noqa: SIM115 - until `_close`
        try:
            lock(file, self.path)
        except MolfltError:
            file.close()
            raise
        return file

    def _begin(self, resume: bool) -> None:
        """Take over what is left of an earlier run."""
        left = [path for path in (self.path, self._working) if has_records(path)]
        if left and not resume:
            them = "them" if len(left) > 1 else "it"
            raise UsageError(
                f"An interrupted relaxation left {' and '.join(map(str, left))}; go on "
                f"with --resume, or remove {them}."
            )
        if resume and not left and self.out.exists():
            self._source, self._is_copy = self.out, True
            self._file.close()  # Windows replaces no file that is open
            with atomic_path(self.path) as temporary:
                temporary.write_bytes(self.out.read_bytes())
            self._file = self._open()
        end = 0
        for record in self._terms.read(self.path, self._source):
            end = self._enter(record, end)
        with writing(self.path):
            self._file.truncate(end)
            self._file.seek(end)
        if has_records(self._working):
            for record in self._terms.read(self._working, self._working):
                known = self.entries.get(record.index)
                if known is None or known.steps < record.steps:
                    self._append(record)
        with writing(self._working):
            self._working.unlink(missing_ok=True)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close(bool(self.entries))

    def _close(self, is_needed: bool) -> None:
        """Leave no file that says nothing, or no more than the output does."""
        with contextlib.suppress(OSError):  # of what did not fit on a full disk
            self._file.close()
        if self._is_copy or not is_needed:
            self.path.unlink(missing_ok=True)

    def write(self, job: Job) -> None:
        """Add a record."""
        self._append(self._terms.record(job))

    def keep(self, jobs: Sequence[Job]) -> None:
        """Add records of all structures in work, of a run that ends before they do."""
        for job in jobs:
            self.write(job)
        with writing(self._working):
            self._working.unlink(missing_ok=True)

    def save(self, jobs: Sequence[Job]) -> None:
        """Write down the structures in work, if it is time to."""
        started = time.monotonic()
        if started < self._due:
            return
        with atomic_path(self._working) as temporary:
            texts = [self._terms.record(job).text for job in jobs]
            temporary.write_bytes(b"".join(texts))
        self._is_copy = False  # what is in work is no more than a part of it
        ended = time.monotonic()
        self._due = ended + max(SAVE_EVERY, _LEAST_WORK * (ended - started))

    def forget(self, index: int) -> None:
        """Leave out a structure that was in work and has failed."""
        self.entries.pop(index, None)

    def restore(self, job: Job) -> bool:
        """Put a structure where an earlier run left it; False: it left nothing.

        Raises:
            InputError: The record is about another structure.
        """
        entry = self.entries.get(job.index)
        if entry is None:
            return False
        with open(self.path, "rb") as file:
            file.seek(entry.start)
            text = file.read(entry.end - entry.start)
        put_back(job, text, self._source, self._terms.pressure is not None)
        return True

    def finish(self) -> None:
        """Write the output, and remove the journal."""
        with (
            atomic_path(self.out) as temporary,
            open(temporary, "wb") as target,
            open(self.path, "rb") as source,
        ):
            for _, entry in sorted(self.entries.items()):
                source.seek(entry.start)
                target.write(source.read(entry.end - entry.start))
        self._file.close()
        for path in (self.path, self._working):
            path.unlink(missing_ok=True)

    def _append(self, record: Record) -> None:
        start = self._file.tell()
        self._is_copy = False
        with writing(self.path):
            self._file.write(record.text)
            self._file.flush()
        self._enter(record, start)

    def _enter(self, record: Record, start: int) -> int:
        """Say where a record stands; return where it ends."""
        end = start + len(record.text)
        self.entries[record.index] = Entry(start, end, record.steps, record.converged)
        return end
