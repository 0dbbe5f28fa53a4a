"""What a run of ``molflt relax`` read, and how its structures ended."""

from pathlib import Path

from molflt.commands.failures import LISTED, Failures
from molflt.commands.readings import Readings, say
from molflt.relax.relaxation import Job, Settings

_STORED = {"FixAtoms", "FixCartesian"}
"""Constraints that extended XYZ has a column for."""


class Tally:
    """Counts what was relaxed; memory grows only with what is amiss.

    Args:
        readings: Counts what is read.

    Attributes:
        failures: Sentences about structures and files that could not be used.
    """

    def __init__(self, readings: Readings) -> None:
        self.readings = readings
        self.failures = Failures()
        self._total = 0
        self._relaxed = 0
        self._unfinished = 0
        self._steps = 0
        self._close: list[tuple[int, str]] = []
        self._lost: set[str] = set()

    @property
    def code(self) -> int:
        """Exit code: 0 if all of the input is relaxed, to what can be meant."""
        return 1 if self.failures or self._relaxed < self._total else 0

    def add(self, job: Job) -> None:
        """Count a structure that is done.

        Relaxed is one that has converged, to atoms that are apart: where they are in
        each other small forces mean nothing.
        """
        close = job.has_close_atoms
        if close:
            self._close.append((job.index, job.structure.where))
        self._total += 1
        self._relaxed += job.converged and not close
        self._unfinished += not job.converged
        self._steps += job.steps
        self._lost |= {type(c).__name__ for c in job.atoms.constraints} - _STORED

    def report(self, out: Path, settings: Settings) -> None:
        """Print the summary on stderr."""
        self.readings.report()
        mean = self._steps / max(1, self._total)
        cells = ""
        if settings.pressure is not None:
            cells = f", cells at {settings.pressure:g} GPa"
        say(
            f"{self._relaxed} of {self._total} structures relaxed to "
            f"{settings.fmax:g} eV/Å{cells}, {mean:.0f} steps on average, in {out}"
        )
        if self._lost:
            say(
                f"warning: {', '.join(sorted(self._lost))} held in the relaxation, but "
                f"{out} cannot store them."
            )
        if self._close:
            first = sorted(self._close)[:LISTED]
            named = "; ".join(where for _, where in first)
            more = "; ..." if len(self._close) > LISTED else ""
            say(
                f"molflt: {len(self._close)} structures ended with atoms closer to "
                "each other than bonds are, where forces are arbitrary "
                f"(relax_close_atoms=T in {out}): {named}{more}"
            )
        if self._unfinished:
            say(
                f"molflt: {self._unfinished} structures have not converged in "
                f"{settings.steps} steps; more --steps with --resume go on."
            )
        self.failures.report("structures or files", out)
