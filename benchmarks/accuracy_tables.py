"""Tables made from the runs in results/accuracy.

Each function returns its table, or None while a run that it shows is open. Those of
many runs show what there is: that of QM9 has dashes for open runs, the others count
them. Families of models (`plan.FAMILIES`) are there by their choice from the grid.
Tables of our model alone are in `ablation_tables.py`.
"""

from collections.abc import Callable
from dataclasses import replace
from statistics import mean

import ablation_tables
import plan
from adsorption import augmentation_of
from plan import FAMILIES, Read
from table_runs import (
    Result,
    choices,
    minutes,
    over_seeds,
    processors,
    settings,
    still_open,
    target_name,
    title,
    unit_of,
)
from table_text import dashes, header, line, marked, spread
from tasks import QM9_TEST

Table = Callable[[Read], str | None]


def qm9(read: Read) -> str | None:
    """Return test MAE of the 12 targets by family."""
    chosen = choices(read)
    if chosen is None:
        return None
    lines = header(["target", "unit", *FAMILIES])
    seeds: set[int] = set()
    shown: list[Result] = []
    for target in plan.QM9_TARGETS:
        row = [over_seeds(replace(run, target=target), read) for run in chosen.values()]
        done = [results for results in row if results]
        if not done:
            continue
        shown += [result for results in done for result in results]
        seeds |= {len(results) for results in done}
        unit, factor = unit_of(done[0][0])
        values = [[factor * r["test"]["test_mae"] for r in results] for results in row]
        lines.append(line([target_name(target), unit, *marked(values)]))
    if not shown:
        return None
    some = shown[0]
    fluorine = ", without fluorine" if some["data"]["without_fluorine"] else ""
    several = (
        "U0: mean and standard deviation of up to three seeds; others: one seed."
        if max(seeds) > 1
        else "One seed."
    )
    return "\n".join(
        [
            *lines,
            "",
            f"Test MAE of {QM9_TEST:,} molecules of QM9{fluorine}; "
            f"{some['train']:,} training molecules, {minutes(some)} CPU-minutes of "
            f"training on one thread for every number ({processors(shown)}). "
            f"{several} {settings(chosen)}{dashes(lines)}",
        ]
    )


def u0(read: Read) -> str | None:
    """Return size, speed and errors on U0, short and long, of each model."""
    chosen = choices(read)
    if chosen is None:
        return None
    minute = f"{plan.SHORT // 60} CPU-minutes", f"{plan.LONG // 60} CPU-minutes"
    lines = header(["model", "parameters", "molecules/s", *minute])
    seeds: set[int] = set()
    shown: list[Result] = []
    for family, run in chosen.items():
        short, long = over_seeds(run, read), read(replace(run, seconds=plan.LONG))
        seeds.add(len(short))
        shown += short if long is None else [*short, long]
        speed = mean(result["molecules_per_second"] for result in short)
        lines.append(
            line(
                [
                    title(family, run),
                    f"{short[0]['parameters']:,}",
                    f"{speed:.0f}",
                    spread([1000 * r["test"]["test_mae"] for r in short]) + " meV",
                    f"{1000 * long['test']['test_mae']:.1f} meV" if long else "–",
                ]
            )
        )
    several = "One seed."
    if max(seeds) > 1:
        several = (
            f"{' or '.join(map(str, sorted(seeds)))} seeds of the short training (mean "
            "and standard deviation), one of the long."
        )
    note = f"QM9 U0, test MAE, one thread ({processors(shown)}). {several}"
    return "\n".join([*lines, "", note + dashes(lines)])


def grid(read: Read) -> str | None:
    """Return validation errors of the grid, from which each family was chosen."""
    chosen = choices(read)
    if chosen is None:
        return None
    lines = header(["model", "batch size", "learning rate", "U0", "gap", "chosen"])
    for family in FAMILIES:
        runs = plan.grid(family, read)
        for run in (run for run in runs if run.target == "u0"):
            errors = []
            for point in (run, replace(run, target="gap")):
                result = read(point) if point in runs else None
                value = None if result is None else 1000 * result["val"]["val_mae"]
                errors.append("" if value is None else f"{value:.1f}")
            mark = "yes" if run == chosen[family] else ""
            cells = [run.model, str(run.batch_size), f"{run.lr:g}", *errors, mark]
            lines.append(line(cells))
    return "\n".join([*lines, "", "Validation MAE, meV, one seed."])


def emt(read: Read) -> str | None:
    """Return MAE and EwT on the four splits of EMT."""
    runs = plan.best_adsorption(read)
    if not runs:
        return None
    found = [over_seeds(run, read) for run in runs]
    some = found[0][0]
    splits = some["data"]["structures"]
    lines = header(["model", "seeds", "batch size", *splits])

    def values(results: list[Result], metric: str) -> list[float]:
        return [result["test"][metric] for result in results]

    maes = [
        marked([values(results, f"{split}_mae") for results in found], 3)
        for split in splits
    ]
    for run, results, *errors in zip(runs, found, *maes, strict=True):
        cells = [
            f"{mae} eV, {100 * mean(values(results, f'{split}_ewt')):.0f} %"
            for split, mae in zip(splits, errors, strict=True)
        ]
        lines.append(line([run.model, str(len(results)), str(run.batch_size), *cells]))
    noise = augmentation_of("FLT interaction")["noise_A"]
    note = (
        "MAE (mean and standard deviation of the seeds) and EwT; "
        f"{some['train']:,} training systems, {minutes(some)} CPU-minutes on one "
        f"thread ({processors([r for results in found for r in results])}), the same "
        "neighbour lists (5 Å) and noise on the start "
        f"({noise:g} Å, falling to 0) for all; batch size (16 or 32) by MAE on "
        "`val_id`. Each kind of model has what those before it have. Surface: without "
        "the atoms below the surface (tag 0). Displacements: the displacements to the "
        "relaxed positions are a second task, with a weight that falls to 0. "
        "Interaction: the energies of adsorbate and slab by themselves are taken off "
        "(FLT: in a sum over the adsorbate's atoms; PaiNN: the prediction of the whole "
        "less those of adsorbate and slab), and training also starts from points "
        "on the way to the relaxed positions, less and less often (FLT no "
        "interpolation: FLT "
        "interaction without this)."
        f"{still_open({*plan.adsorption({}), *plan.adsorption_seeds({})}, read)}"
    )
    return "\n".join([*lines, "", note])


def rmd17(read: Read) -> str | None:
    """Return errors of energies and forces."""
    best = plan.best_forces(read)
    lines = header(["molecule", "error", *plan.FORCE_MODELS])
    shown: list[Result] = []
    for molecule, runs in best.items():
        if len(runs) < len(plan.FORCE_MODELS):
            continue
        found = [over_seeds(runs[family], read) for family in plan.FORCE_MODELS]
        shown += [result for seeds in found for result in seeds]
        for what, metric, unit in (
            ("energy", "test_mae", "meV"),
            ("forces", "test_force_mae", "meV/Å"),
        ):
            values = [[1000 * one["test"][metric] for one in seeds] for seeds in found]
            lines.append(line([molecule, f"{what}, {unit}", *marked(values, 1)]))
    if not shown:
        return None
    data = shown[0]["data"]
    ours = [
        f"{families['FLT'].model} for {molecule}"
        for molecule, families in best.items()
        if "FLT" in families
    ]
    note = (
        f"Test MAE of {data['test']:,} geometries; {shown[0]['train']} for "
        f"training and {data['val']} for validation, {minutes(shown[0])} "
        f"CPU-minutes on one thread ({processors(shown)}), the same loss of energies "
        "and forces for all. One seed, or mean and standard deviation of up to three. "
        "The learning rate (0.001 or 0.003) of all and the variant of FLT were chosen "
        "by the error of the validation set's forces, with the first seed: "
        f"{', '.join(ours)} (HCO: density features of H, C and O; "
        "smooth: near heads up to 1 instead of 3 cycles/Å)."
        f"{still_open([*plan.forces({}), *plan.forces_seeds({})], read)}"
    )
    return "\n".join([*lines, "", note])


TABLES: dict[str, Table] = {
    "accuracy_qm9": qm9,
    "accuracy_u0": u0,
    "accuracy_grid": grid,
    "accuracy_emt": emt,
    "accuracy_rmd17": rmd17,
    "accuracy_curves": ablation_tables.curves,
    "accuracy_ablations": ablation_tables.ablations,
    "accuracy_vectors": ablation_tables.vectors,
}
