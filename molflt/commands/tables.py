"""Errors of splits as a table on the terminal."""

import re
from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from molflt.unit_names import unit_of_name


def metrics_table(metrics: Mapping[str, float]) -> Table:
    """Return a table with a row per split and target, a column per metric.

    Args:
        metrics: Values by ``{split}/{target}/{metric}``; other names are left out.
    """
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for name, value in metrics.items():
        split, target, metric = [*name.split("/"), "", ""][:3]
        if metric and split != "train":
            rows.setdefault((split, target), {})[metric] = value
    columns = list(dict.fromkeys(metric for row in rows.values() for metric in row))
    table = Table("split", "target")
    for column in columns:
        table.add_column(_heading(column), justify="right")
    for (split, target), row in rows.items():
        cells = [f"{row[column]:.4g}" if column in row else "" for column in columns]
        table.add_row(split, target, *cells)
    return table


def show(table: Table) -> None:
    """Print a table on stdout, whole even where the terminal's width is unknown."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    console.print(table)


def _heading(metric: str) -> str:
    """Return ``force MAE [eV/A]`` for ``force_mae_eV_per_A``, and so on."""
    head, error, unit = re.split("_?(mae|ewt)_", metric, maxsplit=1)
    name = f"{head} {'MAE' if error == 'mae' else 'EwT'}".strip()
    # Escaped: rich takes words in brackets for styles.
    return escape(f"{name} [{'%' if unit == 'percent' else unit_of_name(unit)}]")
