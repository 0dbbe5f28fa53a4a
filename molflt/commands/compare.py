"""``molflt compare``: several training runs side by side."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molflt.commands.parser import Parser
from molflt.commands.predict import check_output
from molflt.errors import InputError, UsageError
from molflt.unit_names import unit_of_name

if TYPE_CHECKING:
    from rich.table import Table

    from molflt.analysis.metrics_file import Curve

PLOTS = (".png", ".pdf", ".svg")
UNITS = {"eV_per_A": "eV/Å", "eV_per_A3": "eV/Å³", "std": "standard deviations"}
_QUIET = ("runs", "name", "ckpt_path")  # differ between runs without saying anything


@dataclass(frozen=True)
class Run:
    """A folder of ``molflt fit``.

    Args:
        name: As short as it can be without being another run's.
        path: The folder with ``metrics.csv``.
        curves: Steps and values of each metric.
        options: The configuration, by dotted key; empty if it was not kept.
    """

    name: str
    path: Path
    curves: "dict[str, Curve]"
    options: dict[str, Any]


def main(words: list[str]) -> int:
    """Run ``molflt compare`` on the words after it."""
    parser = Parser(
        prog="molflt compare",
        description="Print the lowest errors of training runs and the options in which "
        "they differ, and draw their curves.",
    )
    add = parser.add_argument
    add(
        "runs",
        metavar="RUN",
        nargs="+",
        type=Path,
        help="runs/NAME/version_N, or runs/NAME for its latest version",
    )
    add(
        "--metric",
        help="what is drawn, e.g. val_id/energy/mae_eV; else what the first run's "
        "checkpoints were chosen by",
    )
    add("-o", "--out", type=Path, default=Path("compare.png"), help="the plot")
    options = parser.parse_args(words)
    check_output(options.out, PLOTS, [])  # the runs are folders
    return compare(options.runs, options.out, options.metric)


def compare(paths: Sequence[Path], out: Path, metric: str | None = None) -> int:
    """Print tables and write the plot; 0 on success."""
    from molflt.analysis.plots import learning_curve
    from molflt.analysis.style import DOUBLE, panels, save
    from molflt.commands.tables import show

    runs = read_runs(paths)
    chosen = metric or _monitored(runs[0])
    drawn = {run.name: run.curves[chosen] for run in runs if chosen in run.curves}
    if not drawn:
        known = sorted({name for run in runs for name in _errors(run)})
        raise UsageError(
            f"No run has the metric {chosen!r}; known: {', '.join(known)}."
        )
    show(best_table(runs))
    if len(runs) > 1:
        show(options_table(runs))
    figure, (ax,) = panels(1, 1, DOUBLE, height=3.0)
    split, target = [*chosen.split("/"), ""][:2]
    title = f"{split}, {target}" if target else chosen
    quantity, unit = axis_of(chosen)
    learning_curve(ax, drawn, title, unit, quantity)
    save(figure, out)
    missing = [run.name for run in runs if run.name not in drawn]
    if missing:
        print(f"Without {chosen}: {', '.join(missing)}", file=sys.stderr)
    print(f"{chosen} of {len(drawn)} runs is drawn in {out}.", file=sys.stderr)
    return 0


def axis_of(metric: str) -> tuple[str, str]:
    """Return what a metric measures, and its unit; "": it has none."""
    name = metric.rpartition("/")[2]
    before, found, unit = name.rpartition("mae_")
    if not found:
        return ("EwT", "%") if name == "ewt_percent" else (name, "")
    return f"{before.replace('_', ' ')}MAE", UNITS.get(unit, unit_of_name(unit))


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """Read runs and give them short names.

    Raises:
        InputError: A folder holds no run, or its files cannot be read.
        UsageError: The same run twice.
    """
    from molflt.analysis.metrics_file import read_metrics

    folders = [find_run(path) for path in paths]
    whole = [folder.resolve() for folder in folders]
    if len(set(whole)) < len(whole):
        twice = next(folder for folder in whole if whole.count(folder) > 1)
        raise UsageError(f"Run {twice} is named twice.")
    return [
        Run(name, folder, read_metrics(folder), read_options(folder / "config.yaml"))
        for name, folder in zip(_short(whole), folders, strict=True)
    ]


def find_run(path: Path) -> Path:
    """Return the folder with ``metrics.csv``: `path`, or its latest ``version_N``.

    Raises:
        InputError: There is none.
    """
    if path.is_file() and path.name == "metrics.csv":
        return path.parent
    if not path.is_dir():
        raise InputError(f"No such run: {path}.")
    if (path / "metrics.csv").is_file():
        return path
    versions = {
        int(each.parent.name.removeprefix("version_")): each.parent
        for each in path.glob("version_*/metrics.csv")
        if each.parent.name.removeprefix("version_").isdigit()
    }
    if not versions:
        raise InputError(
            f"{path} has no metrics.csv; give the folder of a run of molflt fit that "
            "reached its first validation."
        )
    return versions[max(versions)]


def read_options(path: Path) -> dict[str, Any]:
    """Return a configuration by dotted key; empty if the run kept none.

    Raises:
        InputError: It is not YAML.
    """
    import yaml

    if not path.is_file():
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"Cannot read {path}: {reason}.") from error
    return dict(_flat(content)) if isinstance(content, dict) else {}


def best_table(runs: Sequence[Run]) -> "Table":
    """Return a row per run and split: lowest error, its step, the last one."""
    import numpy as np
    from rich.markup import escape
    from rich.table import Table

    table = Table("run", "metric", title="Lowest errors")
    for column in ("lowest", "at step", "last", "steps"):
        table.add_column(column, justify="right")
    for run in runs:
        for name in _errors(run):
            steps, values = run.curves[name]
            # An error is nan where no structure had a label, or a run diverged.
            best = int(np.where(np.isnan(values), np.inf, values).argmin())
            table.add_row(
                escape(run.name),
                escape(name),
                f"{values[best]:.4g}",
                f"{steps[best]:,}",
                f"{values[-1]:.4g}",
                f"{steps[-1]:,}",
            )
    return table


def options_table(runs: Sequence[Run]) -> "Table":
    """Return the options in which the runs differ, a column a run."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("option", *(escape(run.name) for run in runs), title="Differences")
    keys = dict.fromkeys(key for run in runs for key in run.options)
    for key in keys:
        values = [run.options.get(key, "") for run in runs]
        if key not in _QUIET and any(value != values[0] for value in values):
            table.add_row(escape(key), *(escape(str(value)) for value in values))
    return table


def _errors(run: Run) -> list[str]:
    """Return the mean absolute errors of splits other than the training set."""
    return [
        name
        for name in run.curves
        if "mae_" in name.rpartition("/")[2] and not name.startswith("train/")
    ]


def _monitored(run: Run) -> str:
    """Return what the run's checkpoints were chosen by, or its first error."""
    monitor = run.options.get("checkpoint.monitor")
    if isinstance(monitor, str) and monitor in run.curves:
        return monitor
    names = _errors(run) or list(run.curves)
    if not names:
        raise InputError(f"{run.path / 'metrics.csv'} has no metrics yet.")
    return names[0]


def _flat(tree: Mapping[str, Any], head: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in tree.items():
        name = f"{head}{key}"
        if isinstance(value, dict) and value:
            rows += _flat(value, f"{name}.")
        else:
            rows.append((name, value))
    return rows


def _short(paths: Sequence[Path]) -> list[str]:
    """Return the last parts of paths, as few as tell them apart."""
    for count in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-count:]) for path in paths]
        # "version_0" alone says nothing.
        if len(set(names)) == len(names) and count > 1:
            return names
    return [str(path) for path in paths]
