"""What Slurm's signal saves before a job is requeued, and where."""

import os
from contextlib import suppress
from pathlib import Path

from pytorch_lightning.plugins.environments import SLURMEnvironment


def own_root(folder: Path) -> Path:
    """Return a folder's place of this job alone, the folder itself outside of Slurm.

    A requeued job keeps its number. Jobs of an array have one each, and would take up
    each other's states if they train with one name.
    """
    job = os.environ.get("SLURM_JOB_ID")
    return folder / f"slurm_{job}" if job else folder


def saved_states(root: str | Path) -> list[Path]:
    """Return the states that Slurm's signal has saved, the newest last."""
    if not SLURMEnvironment.detect():
        return []
    found = Path(root).glob("hpc_ckpt_[0-9]*.ckpt")
    return sorted(found, key=lambda path: int(path.stem.rpartition("_")[2]))


def remove_states(root: str | Path) -> None:
    """Remove them after the end of a training; what follows in the job is a new one."""
    if states := saved_states(root):
        for state in states:
            state.unlink(missing_ok=True)  # another process may have been first
        with suppress(OSError):  # not empty: not of the states alone
            Path(root).rmdir()
