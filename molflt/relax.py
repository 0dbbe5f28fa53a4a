"""Relaxations of many structures: one ASE optimiser each, forces in common batches."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.singlepoint import SinglePointCalculator
from ase.filters import FrechetCellFilter
from ase.io.trajectory import TrajectoryWriter
from ase.optimize import BFGS, FIRE, LBFGS
from ase.optimize.optimize import Optimizer

from molflt.crystal_cell import cell_problem, free_cell
from molflt.errors import InputError
from molflt.evaluation import Ensemble, Request
from molflt.files import writing
from molflt.predict import BATCH_ATOMS, evaluate_structures, fill_batches
from molflt.read_structures import Structure, as_input_error, digest_of

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "fire": partial(FIRE, maxstep=0.05, dtmax=0.5),
    "bfgs": BFGS,
    "lbfgs": LBFGS,
}
"""Optimisers by name. FIRE has the short steps of `molflt.data.emt_relax`: it ends in
the minimum that belongs to the structure given, where the others jump over barriers."""

_KEPT = ("energy", "forces", "stress")
_POOL = 4  # batches of structures that are relaxed at the same time


@dataclass
class Job:
    """One structure on its way.

    Args:
        index: Its number in the input, from 0.
        structure: As it was read; its atoms move.
        steps: Steps already made, in an earlier run too.
        fmax: Largest force on an atom that is not held [eV/Å], or gradient by the cell
            [eV]; NaN: not yet known.
        converged: Whether that is below the threshold.
        initial_energy: Energy [eV] of the structure that was read.
    """

    index: int
    structure: Structure
    steps: int = 0
    fmax: float = float("nan")
    converged: bool = False
    initial_energy: float = float("nan")
    start: np.ndarray = field(init=False)
    origin: str = field(init=False)
    """Cell (3, 3) [Å] and digest of the structure that was read."""

    def __post_init__(self) -> None:
        self.start, self.origin = np.array(self.atoms.cell), digest_of(self.atoms)

    @property
    def atoms(self) -> Atoms:
        """The atoms where they are now."""
        return self.structure.atoms

    def snapshot(self) -> Atoms:
        """Return a copy of the atoms with energy, forces and, if known, stress."""
        copy = self.atoms.copy()
        results = self.atoms.calc.results if self.atoms.calc is not None else {}
        kept = {k: results[k] for k in _KEPT if k in results}
        for name in (*_KEPT, "momenta"):  # of the structure that was read
            copy.info.pop(name, None)
            copy.arrays.pop(name, None)
        copy.calc = SinglePointCalculator(copy, **kept)
        return copy


@dataclass(frozen=True)
class Settings:
    """How structures are relaxed.

    Args:
        fmax: Relaxed is a structure on none of whose atoms acts a larger force [eV/Å];
            where the cell is relaxed, the gradient by it is smaller too [eV].
        steps: Largest number of steps of each structure.
        optimizer: ``fire``, ``bfgs`` or ``lbfgs``.
        batch_atoms: Largest number of atoms evaluated at once; None: what suits the
            device.
        trajectories: Folder for a ``.traj`` of each structure; None: none are written.
        pressure: Pressure at which the cells are relaxed too [GPa]; None: they stay.
    """

    fmax: float = 0.05
    steps: int = 200
    optimizer: str = "fire"
    batch_atoms: int | None = None
    trajectories: Path | None = None
    pressure: float | None = None


class Relaxer:
    """Relaxes a stream of structures; some are in work, others wait to be read.

    Every structure has an optimiser of ASE's, which knows nothing of the others; the
    forces it asks for were computed before, in batches with those of the others.
    Constraints of ASE hold. A structure that fails is given up, the others go on; so
    is one whose cell shall be relaxed and is no crystal's, or is lost on the way.

    Args:
        ensemble: The models.
        energy: Name of the potential energy.
        settings: How.

    Attributes:
        active: Structures in work.
    """

    def __init__(self, ensemble: Ensemble, energy: str, settings: Settings) -> None:
        self._ensemble = ensemble
        self._request = Request(
            [energy], energy=energy, forces=True, stress=settings.pressure is not None
        )
        self._energy = energy
        self._settings = settings
        kind = ensemble.device.type
        limit = settings.batch_atoms or BATCH_ATOMS.get(kind, BATCH_ATOMS["cuda"])
        self._batch_atoms = limit
        self.active: list[_Running] = []

    def run(self, jobs: Iterator[Job | InputError]) -> Iterator[Job | InputError]:
        """Yield jobs when they are done, which is not the order of the input.

        Done is a job that has converged or made all its steps.

        Raises:
            InputError: A trajectory cannot be written.
        """
        try:
            yield from self._rounds(jobs)
        finally:
            for running in self.active:
                with suppress(OSError):  # of what does not fit on a full disk
                    running.open_files.close()

    def _rounds(self, jobs: Iterator[Job | InputError]) -> Iterator[Job | InputError]:
        waiting: Iterator[Job | InputError] | None = jobs
        while waiting is not None or self.active:
            while waiting is not None and self._has_room():
                job = next(waiting, None)
                if job is None:
                    waiting = None
                elif isinstance(job, InputError):
                    yield job
                elif (error := self._cell_problem(job)) is not None:
                    yield error
                else:
                    self.active.append(self._start(job))
            yield from self._round()

    def _cell_problem(self, job: Job) -> InputError | None:
        if self._settings.pressure is None:
            return None
        return cell_problem(job.atoms, job.start, job.structure.where)

    def _has_room(self) -> bool:
        atoms = sum(len(running.job.atoms) for running in self.active)
        return atoms < _POOL * self._batch_atoms

    def _start(self, job: Job) -> "_Running":
        job.atoms.calc = _Given(lambda: self._compute([job]))
        moved: Atoms | FrechetCellFilter = job.atoms
        if self._settings.pressure is not None:
            moved = free_cell(job.atoms, job.start, self._settings.pressure)
        optimizer = OPTIMIZERS[self._settings.optimizer](moved, logfile=None)
        running = _Running(job, moved, optimizer)
        if (folder := self._settings.trajectories) is not None:
            stem = f"{job.index:06d}-{Path(job.structure.file).stem}"
            path = folder / f"{stem}-{job.structure.frame}.traj"
            mode = "a" if job.steps and path.exists() else "w"
            with writing(path):
                running.trajectory = running.open_files.enter_context(
                    TrajectoryWriter(path, mode)
                )
        return running

    def _round(self) -> Iterator[Job | InputError]:
        """Compute the forces of all, and let every optimiser make a step."""
        whole = [running.job for running in self.active if running.broken is None]
        failed = self._compute(whole)
        still: list[_Running] = []
        for running in self.active:
            job, error = running.job, failed.get(running.job.index)
            if error is None:
                error = self._advance(running)
            if error is not None or job.converged or job.steps >= self._settings.steps:
                running.open_files.close()
                yield job if error is None else error
            else:
                still.append(running)
        self.active = still
        for running in still:
            try:
                running.optimizer.step()
                running.job.steps += 1
                running.broken = self._cell_problem(running.job)
            except Exception as error:  # of this structure alone; see the next round
                running.broken = as_input_error(error, running.job.structure.where)

    def _advance(self, running: "_Running") -> InputError | None:
        """Judge the forces at the new positions; return what is wrong."""
        job = running.job
        if running.broken is not None:
            return running.broken
        try:
            # As the optimiser sees them: without those on atoms that are held.
            forces = running.moved.get_forces()
            energy = job.atoms.get_potential_energy()
        except Exception as error:
            return as_input_error(error, job.structure.where)
        if running.trajectory is not None:
            with writing(self._settings.trajectories):
                running.trajectory.write(job.atoms)
        job.fmax = float(np.linalg.norm(forces, axis=1).max())
        job.converged = job.fmax <= self._settings.fmax
        if np.isnan(job.initial_energy):
            job.initial_energy = energy
        return None

    def _compute(self, jobs: list[Job]) -> dict[int, InputError]:
        """Put energy, forces and, if cells move, stress into the calculators."""
        for job in jobs:
            item = job.structure
            item.system["pos"] = job.atoms.positions.copy()
            if self._request.stress:
                item.system["cell"] = np.array(job.atoms.cell)[None]
            for found in (item.values, item.failures, item.arrays, item.tensors):
                found.clear()
        items = [job.structure for job in jobs]
        errors: dict[int, InputError] = {}
        for batch in fill_batches(items, len(items), self._batch_atoms):
            errors |= evaluate_structures(self._ensemble, batch, self._request)
        failed = {}
        for job in jobs:
            item = job.structure
            error = errors.get(id(item))
            if error is None and item.failures:
                error = InputError(next(iter(item.failures.values())))
            if error is not None:
                failed[job.index] = error
                continue
            job.atoms.calc.fill(job.atoms, item, item.values[self._energy])
        return failed


@dataclass
class _Running:
    """A job with its optimiser and open files."""

    job: Job
    moved: Atoms | FrechetCellFilter
    optimizer: Optimizer
    open_files: ExitStack = field(default_factory=ExitStack)
    trajectory: TrajectoryWriter | None = None
    broken: InputError | None = None


class _Given(Calculator):
    """Results that were computed elsewhere; alone where an optimiser wants more.

    Args:
        compute: Computes energy and forces of the atoms, and fills them in.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, compute: Callable[[], dict[int, InputError]]) -> None:
        super().__init__()
        self._compute = compute

    def fill(self, atoms: Atoms, found: Structure, energy: float) -> None:
        """Take the results for the atoms where they are."""
        self.atoms = atoms.copy()
        self.results = {"energy": energy, "free_energy": energy}
        self.results["forces"] = found.arrays["forces"]
        if "stress" in found.tensors:
            self.results["stress"] = found.tensors["stress"]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = None,
        system_changes: Any = all_changes,
    ) -> None:
        """Compute this structure alone."""
        for error in self._compute().values():
            raise error
