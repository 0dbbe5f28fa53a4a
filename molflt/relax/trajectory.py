"""Trajectories of ASE's with one frame a step, also where a relaxation goes on."""

from pathlib import Path

from ase.io.trajectory import TrajectoryReader, TrajectoryWriter

from molflt.files import atomic_path, writing


def open_trajectory(path: Path, steps: int) -> TrajectoryWriter:
    """Open a trajectory for the frame after so many steps, and those after it.

    Frame k is the structure after k steps. What a file has from there on is of a run
    that went further than is known of it, or the structure itself: it comes again.

    Args:
        path: The file; the frames before are kept, if there are any.
        steps: Steps made already; 0: the file begins anew.

    Raises:
        InputError: The file cannot be read or written.
    """
    with writing(path):
        if not steps or not path.exists() or not path.stat().st_size:
            return TrajectoryWriter(path, "w")
        with TrajectoryReader(path) as frames:
            is_longer = len(frames) > steps
        if is_longer:
            with (
                atomic_path(path) as temporary,
                TrajectoryReader(path) as frames,
                TrajectoryWriter(temporary, "w") as kept,
            ):
                for frame in frames[:steps]:
                    kept.write(frame)
        return TrajectoryWriter(path, "a")
