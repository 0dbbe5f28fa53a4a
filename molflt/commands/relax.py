"""``molflt relax``: structures in, relaxed structures out."""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from molflt.commands.parser import Parser, finite_number, positive, positive_number
from molflt.commands.predict import add_inputs, check_output, describe, split_inputs
from molflt.commands.termination import terminable, undisturbed
from molflt.errors import InputError, UsageError
from molflt.files import writing

if TYPE_CHECKING:
    from molflt.commands.relax_journal import Journal
    from molflt.commands.relax_tally import Tally
    from molflt.read_structures import Structure
    from molflt.relax.relaxation import Job, Relaxer, Settings


def main(words: list[str]) -> int:
    """Run ``molflt relax`` on the words after it."""
    parser = Parser(
        prog="molflt relax",
        description="Relax structures with ASE's optimisers, many at a time; "
        "constraints hold. Exit code 1 if one could not be used, has not converged, or "
        "ended with atoms in each other.",
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
    if options.pressure is not None and not options.cell:
        raise UsageError("--pressure is on a cell that is relaxed; it needs --cell.")
    from molflt.relax.relaxation import Settings

    checkpoints, inputs = split_inputs(options.checkpoint, options.inputs)
    settings = Settings(
        options.fmax,
        options.steps,
        options.optimizer,
        options.batch_atoms,
        options.trajectory,
        (options.pressure or 0.0) if options.cell else None,
    )
    check_output(options.out, [".extxyz"], [*checkpoints, *inputs])
    with terminable():
        tally = relax(options, checkpoints, inputs, settings)
    tally.report(options.out, settings)
    return tally.code


def relax(
    options: Namespace,
    checkpoints: Sequence[str],
    inputs: Sequence[str],
    settings: "Settings",
) -> "Tally":
    """Relax and write; return what was.

    Raises:
        Terminated: After SIGTERM, as KeyboardInterrupt after Ctrl-C: what is done and
            in work is written down, and the sentence says how to go on.
    """
    from molflt.commands.readings import Readings
    from molflt.commands.relax_journal import Journal
    from molflt.commands.relax_tally import Tally
    from molflt.data.progress import count
    from molflt.device import choose_device
    from molflt.domain import Domain
    from molflt.energy_target import potential_of
    from molflt.evaluation import Ensemble
    from molflt.provenance import checkpoint_digest
    from molflt.read_structures import read_structures
    from molflt.relax.relaxation import JobError, Relaxer

    ensemble = Ensemble(checkpoints, choose_device(options.device))
    energy = potential_of(ensemble.targets, "A relaxation").name
    describe(ensemble)
    if settings.trajectories is not None:
        with writing(settings.trajectories):
            settings.trajectories.mkdir(parents=True, exist_ok=True)
    relaxer = Relaxer(ensemble, energy, settings)
    domain = Domain(ensemble.models)
    tally = Tally(Readings(domain))
    model = f"sha256 {' '.join(map(checkpoint_digest, checkpoints))}"
    journal = Journal(options.out, options.resume, settings.pressure, model)
    with journal, _kept(relaxer, journal):
        items = chain.from_iterable(
            read_structures(path, (), domain, options.tags, options.frames)
            for path in inputs
        )
        jobs = _jobs(items, journal, settings, tally)
        for done in count(relaxer.run(jobs, journal.save), "relaxing"):
            if isinstance(done, InputError):
                tally.failures.add(str(done))
                if isinstance(done, JobError):
                    journal.forget(done.index)
            else:
                journal.write(done)
                tally.add(done)
        if not journal.entries:
            journal.keep([])  # all failed: nothing is in work any more
            raise InputError(tally.failures.all_failed())
        journal.finish()
    return tally


@contextmanager
def _kept(relaxer: "Relaxer", journal: "Journal") -> Iterator[None]:
    """Write down where the structures in work are, should the run be interrupted."""
    try:
        yield
    except KeyboardInterrupt as error:
        with undisturbed():
            journal.keep(relaxer.in_work)
        hint = ""
        if journal.entries:
            hint = f" {journal.path} has what is done; go on with --resume."
        raise type(error)(f"Interrupted.{hint}") from error


def _jobs(
    items: "Iterator[Structure | InputError]",
    journal: "Journal",
    settings: "Settings",
    tally: "Tally",
) -> "Iterator[Job | InputError]":
    """Yield what is to be relaxed; what is done already is only counted."""
    from molflt.relax.relaxation import Job

    for index, item in enumerate(items):
        if isinstance(item, InputError):
            yield item
            continue
        tally.readings.add(item)
        job = Job(index, item)
        # Done is what converged (with this fmax), or has no steps left.
        if journal.restore(job) and job.is_judged:
            job.converged = job.fmax <= settings.fmax
            if job.converged or job.steps >= settings.steps:
                tally.add(job)
                continue
        yield job
