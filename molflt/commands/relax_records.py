"""What the journal of a relaxation says of a structure, and how it is read again."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import ase.io
from ase import Atoms

from molflt.data.formats.plain import plain
from molflt.data.formats.xyz import atoms_of, frame_texts
from molflt.errors import InputError, UsageError
from molflt.relax.relaxation import Job


@dataclass(frozen=True)
class Record:
    """One structure in a file of records.

    Args:
        text: Its lines, extended XYZ.
        index: Number of the structure in the input.
        steps: Steps made.
        converged: Whether the forces were small enough.
    """

    text: bytes
    index: int
    steps: int
    converged: bool


@dataclass(frozen=True)
class Terms:
    """On which terms structures are relaxed; others cannot go on with their records.

    Args:
        pressure: Pressure at which cells are relaxed [GPa]; None: they stay.
        model: A digest of the checkpoints.
    """

    pressure: float | None
    model: str

    def record(self, job: Job) -> Record:
        """Return the structure where it is now, and what `Journal` says is kept."""
        atoms = plain(job.snapshot())
        atoms.info |= {
            "relax_index": job.index,
            "relax_file": f"file {job.structure.file}",  # no name that is a number
            "relax_frame": job.structure.frame,
            "relax_steps": job.steps,
            "relax_converged": job.converged,
            "relax_close_atoms": job.has_close_atoms,
            "relax_fmax": job.fmax,
            "relax_initial_energy": job.initial_energy,
            "relax_origin": job.origin,
            "relax_model": self.model,
        }
        atoms.info.pop("relax_pressure", None)  # of the run that made the input
        if self.pressure is not None:
            atoms.info["relax_pressure"] = self.pressure
        text = StringIO()
        ase.io.write(text, atoms, format="extxyz")
        return Record(text.getvalue().encode(), job.index, job.steps, job.converged)

    def read(self, path: Path, source: Path) -> Iterator[Record]:
        """Yield the records of a file.

        Args:
            path: The file.
            source: Where its records come from, for errors.

        Raises:
            UsageError: They are no records, or on other terms.
        """
        for text in _whole_texts(path):
            info = _info(text, source)
            self._refuse_others(info, source)
            steps, done = int(info["relax_steps"]), bool(info["relax_converged"])
            yield Record(text.encode(), int(info["relax_index"]), steps, done)

    def _refuse_others(self, info: dict, source: Path) -> None:  # type: ignore[type-arg]
        before = info.get("relax_pressure")
        if before != self.pressure:
            raise UsageError(
                f"{source} was relaxed {_cells(before)}, which cannot go on "
                f"{_cells(self.pressure)}; give the same options, or start anew "
                "without --resume."
            )
        if info.get("relax_model", self.model) != self.model:
            raise UsageError(
                f"{source} was relaxed with other checkpoints; give the same, or "
                "start anew without --resume."
            )


def has_records(path: Path) -> bool:
    """Whether a file has anything but, perhaps, the beginning of a first record."""
    if not path.exists():
        return False
    with open(path, "rb") as file:
        head = file.readline().strip()
    if head and not head.isdigit():
        return True  # what it is, whoever reads it says
    return next(_whole_texts(path), None) is not None


def put_back(job: Job, text: bytes, source: Path, with_cell: bool) -> None:
    """Put a structure where a record says that it was.

    Args:
        job: The structure, as it was read.
        text: Lines of the record.
        source: Where it comes from, for errors.
        with_cell: Whether the cell has moved, too.

    Raises:
        InputError: The record is about another structure.
    """
    atoms = atoms_of(text.decode())
    info, item = atoms.info, job.structure
    same = (
        info["relax_file"] == f"file {item.file}"
        and info["relax_frame"] == item.frame
        and list(atoms.numbers) == list(item.atoms.numbers)
        and info.get("relax_origin", job.origin) == job.origin
    )
    if not same:
        raise InputError(
            f"{source} has another structure in the place of {item.where}; give the "
            "same files, unchanged, in the same order, or start anew without --resume."
        )
    if with_cell:
        item.atoms.set_cell(atoms.cell, apply_constraint=False)
    item.atoms.set_positions(atoms.positions, apply_constraint=False)
    job.steps, job.converged = int(info["relax_steps"]), bool(info["relax_converged"])
    job.fmax = float(info["relax_fmax"])
    job.initial_energy = float(info["relax_initial_energy"])


def _cells(pressure: float | None) -> str:
    if pressure is None:
        return "without --cell"
    return f"with --cell --pressure {float(pressure)}"


def _whole_texts(path: Path) -> Iterator[str]:
    """Yield the lines of each record up to one that is cut short, in any of its lines.

    That is the last one, if the machine stopped while it was written.
    """
    with contextlib.suppress(InputError):
        for text in frame_texts(path):
            if not text.endswith("\n"):
                return
            yield text


def _info(text: str, path: Path) -> dict:  # type: ignore[type-arg]
    atoms: Atoms = atoms_of(text)
    if "relax_index" not in atoms.info:
        raise UsageError(
            f"{path} was not written by molflt relax; name another output, or leave "
            "out --resume."
        )
    return atoms.info
