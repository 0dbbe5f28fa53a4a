"""Tables of what parts of our model do, and of learning curves.

Each function returns its table, or None while no run that it shows is made; that of the
learning curves, while one is open.
"""

from dataclasses import replace

import plan
from plan import Read, choose
from table_runs import runs_of, still_open, target_name, unit_of
from table_text import header, line, marked
from variants import ABLATIONS


def ablations(read: Read) -> str | None:
    """Return U0 with one part of our model changed at a time."""
    runs = runs_of(plan.ablations, read)
    base = choose("FLT", read)
    if base is None or not any(read(run) for run in runs):
        return None
    lines = header(["part", "model", "parameters", "molecules/s", "test MAE"])
    parts = {name: part for part, names in ABLATIONS.items() for name in names}
    for run in (base, *runs):
        result = read(run)
        if result is None:
            continue
        cells = [parts.get(run.model, ""), run.model, f"{result['parameters']:,}"]
        cells.append(f"{result['molecules_per_second']:.0f}")
        cells.append(f"{1000 * result['test']['test_mae']:.1f} meV")
        lines.append(line(cells))
    note = (
        f"QM9 U0, {runs[0].seconds // 60} CPU-minutes, one seed each."
        f"{still_open(runs, read)}"
    )
    return "\n".join([*lines, "", note])


def curves(read: Read) -> str | None:
    """Return U0 by the number of training molecules."""
    runs = runs_of(plan.curves, read)
    if not runs or any(read(run) is None for run in runs):
        return None
    lines = header(["model", *(f"{count:,}" for count in plan.CURVE)])
    for model in dict.fromkeys(run.model for run in runs):
        cells = []
        for run in runs:
            result = read(run)
            assert result is not None
            if run.model == model:
                cells.append(f"{1000 * result['test']['test_mae']:.1f}")
        lines.append(line([model, *cells]))
    note = (
        f"QM9 U0, test MAE, meV, by the number of training molecules; "
        f"{runs[0].seconds // 60} CPU-minutes each, one seed."
    )
    return "\n".join([*lines, "", note])


def vectors(read: Read) -> str | None:
    """Return test MAE of QM9's targets with and without vectors, U0 with more time."""
    base = choose("FLT", read)
    if base is None:
        return None
    runs = runs_of(plan.scalars, read)
    lines = header(
        ["target", "unit", "molecules", "CPU-minutes", base.model, plan.SCALARS]
    )
    short = replace(runs[0], seconds=base.seconds)
    for run in (short, *runs):
        pair = read(replace(run, model=base.model)), read(run)
        if pair[0] is None or pair[1] is None:
            continue
        unit, factor = unit_of(pair[0])
        errors = [[factor * result["test"]["test_mae"]] for result in pair]
        minutes = str(run.seconds // 60)
        given = [target_name(run.target), unit, f"{run.train:,}", minutes]
        lines.append(line([*given, *marked(errors)]))
    if len(lines) == len(header([""])):
        return None
    note = (
        f"QM9, test MAE by training molecules, one seed each.{still_open(runs, read)}"
    )
    return "\n".join([*lines, "", note])
