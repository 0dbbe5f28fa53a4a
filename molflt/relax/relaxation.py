"""Relaxations of many structures: one ASE optimiser each, forces in common batches."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.io.trajectory import TrajectoryWriter
from ase.optimize import BFGS, FIRE, LBFGS
from ase.optimize.optimize import Optimizer

from molflt.errors import InputError
from molflt.evaluation import Ensemble, Request
from molflt.files import writing
from molflt.predict import BATCH_ATOMS, evaluate_structures, fill_batches
from molflt.read_structures import as_input_error
from molflt.relax.crystal_cell import cell_problem, free_cell
from molflt.relax.given_results import GivenResults
from molflt.relax.job import Job, JobError
from molflt.relax.trajectory import open_trajectory

__all__ = ["OPTIMIZERS", "Job", "JobError", "Relaxer", "Settings"]

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "fire": partial(FIRE, maxstep=0.05, dtmax=0.5),
    "bfgs": BFGS,
    "lbfgs": LBFGS,
}
"""Optimisers by name. FIRE has the short steps of `molflt.data.emt.relax`: it ends in
the minimum that belongs to the structure given, where the others jump over barriers."""

_POOL = 4  # batches of structures that are relaxed at the same time


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

    @property
    def in_work(self) -> list[Job]:
        """Jobs that are neither done nor given up."""
        return [running.job for running in self.active if running.broken is None]

    def run(
        self,
        jobs: Iterator[Job | InputError],
        between: Callable[[list[Job]], None] = lambda _: None,
    ) -> Iterator[Job | InputError]:
        """Yield jobs when they are done, which is not the order of the input.

        Done is a job that has converged or made all its steps; what is wrong with one
        is a `JobError`.

        Args:
            jobs: Structures to relax; errors are passed on.
            between: Is called between two steps with the jobs in work, when their
                forces are those where the atoms are.

        Raises:
            InputError: A trajectory cannot be written.
        """
        try:
            yield from self._rounds(jobs, between)
        finally:
            for running in self.active:
                with suppress(OSError):  # of what does not fit on a full disk
                    running.open_files.close()

    def _rounds(
        self, jobs: Iterator[Job | InputError], between: Callable[[list[Job]], None]
    ) -> Iterator[Job | InputError]:
        waiting: Iterator[Job | InputError] | None = jobs
        while waiting is not None or self.active:
            while waiting is not None and self._has_room():
                job = next(waiting, None)
                if job is None:
                    waiting = None
                elif isinstance(job, InputError):
                    yield job
                elif (error := self._cell_problem(job)) is not None:
                    yield JobError(str(error), job.index)
                else:
                    self.active.append(self._start(job))
            yield from self._round()
            between(self.in_work)
            self._step()

    def _cell_problem(self, job: Job) -> InputError | None:
        if self._settings.pressure is None:
            return None
        return cell_problem(job.atoms, job.start, job.structure.where)

    def _has_room(self) -> bool:
        atoms = sum(len(running.job.atoms) for running in self.active)
        return atoms < _POOL * self._batch_atoms

    def _start(self, job: Job) -> "_Running":
        job.atoms.calc = GivenResults(lambda: self._compute([job]))
        moved: Atoms | FrechetCellFilter = job.atoms
        if self._settings.pressure is not None:
            moved = free_cell(job.atoms, job.start, self._settings.pressure)
        optimizer = OPTIMIZERS[self._settings.optimizer](moved, logfile=None)
        running = _Running(job, moved, optimizer)
        if (folder := self._settings.trajectories) is not None:
            stem = f"{job.index:06d}-{Path(job.structure.file).stem}"
            path = folder / f"{stem}-{job.structure.frame}.traj"
            running.trajectory = running.open_files.enter_context(
                open_trajectory(path, job.steps)
            )
        return running

    def _round(self) -> Iterator[Job | InputError]:
        """Compute the forces of all, and yield those that are done."""
        failed = self._compute(self.in_work)
        still: list[_Running] = []
        for running in self.active:
            job, error = running.job, failed.get(running.job.index)
            if error is None:
                error = self._advance(running)
            if error is not None:
                running.broken = error
                running.open_files.close()
                yield JobError(str(error), job.index)
            elif job.converged or job.steps >= self._settings.steps:
                running.open_files.close()
                yield job
            else:
                still.append(running)
        self.active = still

    def _step(self) -> None:
        """Let every optimiser make a step."""
        for running in self.active:
            job = running.job
            job.fmax = float("nan")
            try:
                running.optimizer.step()
                job.steps += 1
                running.broken = self._cell_problem(job)
            except Exception as error:  # of this structure alone; see the next round
                running.broken = as_input_error(error, job.structure.where)

    def _advance(self, running: "_Running") -> InputError | None:
        """Judge the forces at the new positions; return what is wrong."""
        job = running.job
        if running.broken is not None:
            return running.broken
        try:
            # As the optimiser sees them: without those on atoms that are held.
            forces = running.moved.get_forces()
            # The model's, which the output has, too: springs are no part of it.
            energy = job.atoms.get_potential_energy(apply_constraint=False)
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
            energy = {"energy": item.values[self._energy]}
            job.atoms.calc.fill(job.atoms, energy | item.arrays | item.tensors)
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
