"""Read the curves that Lightning's CSV logger wrote."""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from molflt.errors import InputError

Curve = tuple[NDArray[np.int64], NDArray[np.float64]]


def read_metrics(path: str | Path, ending: str = "") -> dict[str, Curve]:
    """Return steps (p,) and values (p,) of each metric in a ``metrics.csv``.

    Steps are those that ``molflt fit`` had taken by then; the file counts from 0 and
    has one less. Where a run was resumed and logged a step twice, the later value
    counts.

    Args:
        path: The file, or the folder that holds it.
        ending: Return only metrics whose names end so, e.g. ``"mae_eV"``.

    Raises:
        InputError: No such file, or not a table with a column ``step``.
    """
    path = Path(path)
    path = path / "metrics.csv" if path.is_dir() else path
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"Cannot read {path}: {error}.") from error
    curves: dict[str, dict[int, float]] = {}
    for number, row in enumerate(rows, start=2):
        for name, text in row.items():
            if not text or name in ("step", "epoch") or not str(name).endswith(ending):
                continue
            try:
                taken = int(row["step"]) + 1
                curves.setdefault(str(name), {})[taken] = float(text)
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(
                    f"{path}, line {number} is not of Lightning's metrics table, which "
                    "has a column 'step' and numbers."
                ) from error
    return {
        name: (np.array(sorted(points)), np.array([points[s] for s in sorted(points)]))
        for name, points in curves.items()
    }
