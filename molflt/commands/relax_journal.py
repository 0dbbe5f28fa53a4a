"""Results of a relaxation while it runs: kept as they come, put in order at the end."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import TracebackType

import ase.io
from ase import Atoms

from molflt.data.plain import plain
from molflt.data.xyz import atoms_of, frame_texts
from molflt.errors import InputError, MolfltError, UsageError
from molflt.files import atomic_path, lock, writing
from molflt.relax import Job


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
    ``relax_steps``, ``relax_converged``, ``relax_fmax`` [eV/Å],
    ``relax_initial_energy`` [eV], and digests of the input and the checkpoints,
    ``relax_origin`` and ``relax_model``; where the cell is relaxed, also
    ``relax_pressure`` [GPa]. `finish` writes the last records in the order of the
    input. Memory holds a few numbers a structure.

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
        self.out, self._model = out, model
        self._pressure = pressure
        self.path = out.with_name(f"{out.stem}.partial{out.suffix}")
        self.entries: dict[int, Entry] = {}
        if self.path.exists() and not resume:
            raise UsageError(
                f"An interrupted relaxation left {self.path}; go on with --resume, or "
                "remove it."
            )
        # Where records come from, for errors, and whether they are only copied yet.
        self._source, self._is_copy = self.path, False
        if resume and not self.path.exists() and out.exists():
            self._source, self._is_copy = out, True
            with atomic_path(self.path) as temporary:
                temporary.write_bytes(out.read_bytes())
        with writing(self.path):
            self.path.touch()
            self._file = open(self.path, "r+b")  # noqa: SIM115 - until `__exit__`
        try:
            lock(self._file, self.path)
            end = self._read_again()
        except MolfltError:
            self._file.close()
            self._forget_copy()
            raise
        with writing(self.path):
            self._file.truncate(end)
            self._file.seek(end)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):  # of what did not fit on a full disk
            self._file.close()
        if not self.entries:  # nothing that a later run could go on with
            self.path.unlink(missing_ok=True)
        self._forget_copy()

    def _forget_copy(self) -> None:
        """Remove what says no more than the output does."""
        if self._is_copy:
            self.path.unlink(missing_ok=True)

    def write(self, job: Job) -> None:
        """Add a record."""
        atoms = plain(job.snapshot())
        atoms.info |= {
            "relax_index": job.index,
            "relax_file": f"file {job.structure.file}",  # no name that is a number
            "relax_frame": job.structure.frame,
            "relax_steps": job.steps,
            "relax_converged": job.converged,
            "relax_fmax": job.fmax,
            "relax_initial_energy": job.initial_energy,
            "relax_origin": job.origin,
            "relax_model": self._model,
        }
        atoms.info.pop("relax_pressure", None)  # of the run that made the input
        if self._pressure is not None:
            atoms.info["relax_pressure"] = self._pressure
        text = StringIO()
        ase.io.write(text, atoms, format="extxyz")
        start = self._file.tell()
        self._is_copy = False
        with writing(self.path):
            self._file.write(text.getvalue().encode())
            self._file.flush()
        end = self._file.tell()
        self.entries[job.index] = Entry(start, end, job.steps, job.converged)

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
            atoms = atoms_of(file.read(entry.end - entry.start).decode())
        info, item = atoms.info, job.structure
        same = (
            info["relax_file"] == f"file {item.file}"
            and info["relax_frame"] == item.frame
            and list(atoms.numbers) == list(item.atoms.numbers)
            and info.get("relax_origin", job.origin) == job.origin
        )
        if not same:
            raise InputError(
                f"{self._source} has another structure in the place of {item.where}; "
                "give the same files, unchanged, in the same order, or start anew "
                "without --resume."
            )
        if self._pressure is not None:
            item.atoms.set_cell(atoms.cell, apply_constraint=False)
        item.atoms.set_positions(atoms.positions, apply_constraint=False)
        job.steps, job.converged = entry.steps, entry.converged
        job.fmax = float(info["relax_fmax"])
        job.initial_energy = float(info["relax_initial_energy"])
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
        self.path.unlink()

    def _read_again(self) -> int:
        """Fill `entries` from the file; return where its last whole record ends."""
        place = 0
        # The last record may be cut short, if the machine stopped while it was written.
        with contextlib.suppress(InputError):
            for text in self._texts():
                end = place + len(text.encode())
                info = _info(text, self._source)
                self._refuse_other_terms(info)
                index = int(info["relax_index"])
                steps, done = int(info["relax_steps"]), bool(info["relax_converged"])
                self.entries[index] = Entry(place, end, steps, done)
                place = end
        return place

    def _refuse_other_terms(self, info: dict) -> None:  # type: ignore[type-arg]
        before = info.get("relax_pressure")
        if before != self._pressure:
            raise UsageError(
                f"{self._source} was relaxed {_terms(before)}, which cannot go on "
                f"{_terms(self._pressure)}; give the same options, or start anew "
                "without --resume."
            )
        if info.get("relax_model", self._model) != self._model:
            raise UsageError(
                f"{self._source} was relaxed with other checkpoints; give the same, or "
                "start anew without --resume."
            )

    def _texts(self) -> Iterator[str]:
        yield from frame_texts(self.path)


def _terms(pressure: float | None) -> str:
    if pressure is None:
        return "without --cell"
    return f"with --cell --pressure {float(pressure)}"


def _info(text: str, path: Path) -> dict:  # type: ignore[type-arg]
    atoms: Atoms = atoms_of(text)
    if "relax_index" not in atoms.info:
        raise UsageError(
            f"{path} was not written by molflt relax; name another output, or leave "
            "out --resume."
        )
    return atoms.info
