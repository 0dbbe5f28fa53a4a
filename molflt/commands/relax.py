"""``molflt relax``: structures in, relaxed structures out."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from molflt.commands.failures import Failures
from molflt.commands.parser import Parser, finite_number, positive, positive_number
from molflt.commands.predict import (
    add_inputs,
    describe,
    refuse_overwriting,
    split_inputs,
)
from molflt.errors import InputError, UsageError
from molflt.files import writing
from molflt.frames import ALL

if TYPE_CHECKING:
    from molflt.commands.relax_journal import Journal
    from molflt.data.tags import TagRule
    from molflt.evaluation import Ensemble
    from molflt.relax import Job, Relaxer, Settings

_STORED = {"FixAtoms", "FixCartesian"}
"""Constraints that extended XYZ has a column for."""


def main(words: list[str]) -> int:
    """Run ``molflt relax`` on the words after it."""
    parser = Parser(
        prog="molflt relax",
        description="Relax structures with ASE's optimisers, many at a time; "
        "constraints hold. Exit code 1 if one could not be used or has not converged.",
    )
    add = parser.add_argument
    add_inputs(parser)
    add("-o", "--out", type=Path, required=True, help="file to write, .extxyz")
    add(
        "--fmax",
        type=positive_number,
        default=0.05,
        help="largest force left [eV/Å]; with --cell also what is left of the cell's "
        "gradient per atom [eV], as ASE's FrechetCellFilter has it",
    )
    add("--steps", type=positive, default=200, help="largest number of steps")
    add(
        "--optimizer",
        choices=("fire", "bfgs", "lbfgs"),
        default="fire",
        help="fire: short steps into the nearest minimum",
    )
    add(
        "--cell",
        action="store_true",
        help="relax the cell too, of structures with three periodic directions",
    )
    add("--pressure", type=finite_number, metavar="P", help="on the cell [GPa]")
    add("--trajectory", type=Path, metavar="DIR", help="folder for a .traj of each")
    add("--resume", action="store_true", help="go on with an interrupted or older run")
    options = parser.parse_args(words)
    if options.out.suffix.lower() != ".extxyz":
        raise UsageError(f"-o must end in .extxyz, not {options.out}.")
    if options.pressure is not None and not options.cell:
        raise UsageError("--pressure is on a cell that is relaxed; it needs --cell.")
    from molflt.relax import Settings

    checkpoints, inputs = split_inputs(options.checkpoint, options.inputs)
    settings = Settings(
        options.fmax,
        options.steps,
        options.optimizer,
        options.batch_atoms,
        options.trajectory,
        (options.pressure or 0.0) if options.cell else None,
    )
    return relax(
        checkpoints,
        inputs,
        options.out,
        settings,
        options.device,
        options.tags,
        options.resume,
        options.frames,
    )


def relax(
    checkpoints: Sequence[str | Path],
    inputs: Sequence[str],
    out: Path,
    settings: "Settings",
    device: str = "auto",
    tags: "TagRule" = "auto",
    resume: bool = False,
    frames: slice = ALL,
) -> int:
    """Relax and write; the result is 1 if not everything converged."""
    refuse_overwriting(out, [*checkpoints, *inputs])
    from molflt.commands.relax_journal import Journal
    from molflt.data.download import file_sha256
    from molflt.data.progress import count
    from molflt.device import choose_device
    from molflt.energy_target import potential_of
    from molflt.evaluation import Ensemble
    from molflt.pretrained import checkpoint_path
    from molflt.relax import Relaxer

    ensemble = Ensemble(checkpoints, choose_device(device))
    energy = potential_of(ensemble.targets, "A relaxation").name
    describe(ensemble)
    if settings.trajectories is not None:
        with writing(settings.trajectories):
            settings.trajectories.mkdir(parents=True, exist_ok=True)
    relaxer = Relaxer(ensemble, energy, settings)
    tally = Tally()
    models = [file_sha256(checkpoint_path(name)) for name in checkpoints]
    model = f"sha256 {' '.join(digest[:16] for digest in models)}"
    journal = Journal(out, resume, settings.pressure, model)
    with journal, _kept(relaxer, journal):
        jobs = _jobs(ensemble, inputs, tags, frames, journal, settings, tally)
        for done in count(relaxer.run(jobs), "relaxing"):
            if isinstance(done, InputError):
                tally.failures.add(str(done))
            else:
                journal.write(done)
                tally.add(done)
        if not journal.entries:
            raise InputError(tally.failures.all_failed())
        journal.finish()
    tally.report(out, settings)
    return 1 if tally.failures or tally.unfinished else 0


@contextmanager
def _kept(relaxer: "Relaxer", journal: "Journal") -> Iterator[None]:
    """Write down where the structures in work are, should the run be interrupted."""
    try:
        yield
    except KeyboardInterrupt as error:
        for running in relaxer.active:
            journal.write(running.job)
        raise KeyboardInterrupt(
            f"Interrupted. {journal.path} has what is done; go on with --resume."
        ) from error


def _jobs(
    ensemble: "Ensemble",
    inputs: Sequence[str],
    tags: "TagRule",
    frames: slice,
    journal: "Journal",
    settings: "Settings",
    tally: "Tally",
) -> "Iterator[Job | InputError]":
    """Read the structures; those that are done already are only counted."""
    from molflt.domain import Domain
    from molflt.read_structures import read_structures
    from molflt.relax import Job

    domain = Domain(ensemble.models)
    items = (
        item
        for path in inputs
        for item in read_structures(path, (), domain, tags, frames)
    )
    for index, item in enumerate(items):
        if isinstance(item, InputError):
            yield item
            continue
        job = Job(index, item)
        # Done is what converged (with this fmax), or has no steps left.
        if journal.restore(job):
            job.converged = job.fmax <= settings.fmax
            if job.converged or job.steps >= settings.steps:
                tally.add(job)
                continue
        yield job


class Tally:
    """Counts what was relaxed."""

    def __init__(self) -> None:
        self.failures = Failures()
        self.converged = 0
        self.unfinished = 0
        self.steps = 0
        self.lost: set[str] = set()

    def add(self, job: "Job") -> None:
        """Count a structure that is done."""
        self.converged += job.converged
        self.unfinished += not job.converged
        self.steps += job.steps
        self.lost |= {type(c).__name__ for c in job.atoms.constraints} - _STORED

    def report(self, out: Path, settings: "Settings") -> None:
        """Print the summary on stderr."""
        total = self.converged + self.unfinished
        mean = self.steps / max(1, total)
        cells = ""
        if settings.pressure is not None:
            cells = f", cells at {settings.pressure:g} GPa"
        print(
            f"{self.converged} of {total} structures relaxed to {settings.fmax:g} "
            f"eV/Å{cells}, {mean:.0f} steps on average, in {out}",
            file=sys.stderr,
        )
        if self.lost:
            print(
                f"warning: {', '.join(sorted(self.lost))} held in the relaxation, but "
                f"{out} cannot store them.",
                file=sys.stderr,
            )
        if self.unfinished:
            print(
                f"molflt: {self.unfinished} structures have not converged in "
                f"{settings.steps} steps; more --steps with --resume go on.",
                file=sys.stderr,
            )
        self.failures.report("structures or files", out)
