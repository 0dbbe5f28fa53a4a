"""Tables of README.md and docs/results.md, made from the results.

python benchmarks/tables.py        rewrites the tables between the markers of both pages
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import accuracy_tables
import path_tables
from finished import read
from headline import headline
from table_runs import target_name, unit_of
from table_text import header, line, spread

from molflt.files import atomic_path

HERE = Path(__file__).resolve().parent
PAGES = [HERE.parent / "README.md", HERE.parent / "docs" / "results.md"]


def emt_is2re(result: dict[str, Any]) -> str:
    """Return MAE and EwT by split and method."""
    methods = ("FLT", "linear fit", "mean")
    lines = [
        "| split | structures | FLT | per-element linear fit | mean predictor |",
        "|---|---|---|---|---|",
    ]
    for split, row in result["results"].items():
        cells = [
            f"{row[m]['mae_eV']:.3f} eV, {row[m]['ewt_percent']:.0f} %" for m in methods
        ]
        lines.append(f"| {split} | {row['structures']} | " + " | ".join(cells) + " |")
    training = result["training"]
    lines.append(
        f"\nMAE and EwT; {training['structures']:,} training systems, "
        f"{training['parameters']:,} parameters, {training['seconds'] / 60:.1f} "
        f"minutes on {cores(result, training)}."
    )
    return "\n".join(lines)


def emt_relaxation(result: dict[str, Any]) -> str:
    """Return differences of relaxed energies from EMT's own."""
    names = {
        "model": "the model's, of its own minimum",
        "emt_at_model_minimum": "EMT's, of the model's minimum",
    }
    lines = header(["energy", "mean difference", "median", "largest", "above 0.1 eV"])
    for name, words in names.items():
        row = result[name]
        sizes = ("mean_absolute_eV", "median_absolute_eV", "largest_absolute_eV")
        cells = [f"{row[size]:.3f} eV" for size in sizes]
        cells.append(f"{100 * row['share_above_0.1_eV']:.0f} %")
        lines.append(line([words, *cells]))
    lines.append(
        f"\nSizes of the differences from EMT's energy of its own minimum; "
        f"{result['systems']} slabs of {result['split']}, {result['converged']} "
        f"relaxed to {result['fmax_eV_per_A']:g} eV/Å in {result['seconds']:.0f} s, "
        f"{result['steps_mean']:.0f} steps on average, on "
        f"{cores(result, result)}."
    )
    return "\n".join(lines)


def qm9_geometries(result: dict[str, Any]) -> str:
    """Return the errors of the shipped model of QM9 by target and geometry."""
    columns = {"dft": "QM9's geometry", "mmff": "MMFF94's", "smiles": "SMILES"}
    lines = header(["target", "unit", *columns.values()])
    for name, row in result["mae"].items():
        unit, scale = unit_of({"unit": result["units"][name]})
        cells = [spread([scale * row[geometry]]) for geometry in columns]
        lines.append(line([target_name(name), unit, *cells]))
    training = result["origin"]["training"]
    lines.append(
        f"\nTest MAE of {result['molecules']:,} molecules of QM9, without fluorine "
        f"({result['left_out']:,} more have no minimum of MMFF94 near by, or no "
        f"conformer from their bonds). One model of "
        f"{training['parameters']:,} parameters for all, {training['steps']:,} steps"
        f"{started(result['origin'])}.\n"
    )
    shown = ("u0", "gap", "mu")
    lines += header(["heavy atoms", "molecules", *map(target_name, shown)])
    for row in result["by_size"]:
        heavy = f"{row['heavy_atoms']} ({row['part']})"
        if row["heavy_atoms"] == result["small"]:
            heavy = f"up to {heavy}"
        units = [unit_of({"unit": result["units"][name]}) for name in shown]
        cells = [
            f"{spread([scale * row['mae'][name]])} {unit}"
            for name, (unit, scale) in zip(shown, units, strict=True)
        ]
        lines.append(line([heavy, f"{row['molecules']:,}", *cells]))
    return "\n".join(lines)


def started(origin: dict[str, Any]) -> str:
    """Return how many steps weights had before, in words; empty if there were none."""
    before = origin.get("started_from", {}).get("training", {}).get("steps")
    return f" after {before:,}" if before else ""


def nve(result: dict[str, Any]) -> str:
    """Return what the energy does in dynamics."""
    training, test = result["training"], result["test"]
    return (
        f"{result['molecule'].capitalize()}, {training['geometries']} geometries of "
        f"rMD17 (test errors {test['energy_mae_meV']:.1f} meV and "
        f"{test['force_mae_meV_per_A']:.0f} meV/Å): {result['steps']:,} steps of "
        f"{result['time_step_fs']:g} fs at {result['temperature_mean_K']:.0f} K, in "
        f"{result['precision']}. Slope of the total energy "
        f"{result['slope_meV_per_atom_ps']:.4f} meV/atom/ps, root mean square about "
        f"that line {result['rms_about_the_line_meV_per_atom']:.3f} meV/atom."
    )


def scaling(result: dict[str, Any]) -> str:
    """Return the largest system of each model, its time and memory, and its end."""
    sizes = ["most atoms", "s", "ms an atom", "GiB"]
    lines = header(["model", "computes", *sizes, "time grows as", "end"])
    for row in result["rows"]:
        end = {
            "done": "",
            "memory": f"out of memory at {row['ended_at']:,}",
            "time": f"over {row['limit_seconds']:.0f} s at {row['ended_at']:,}",
        }
        power = row["time_power"]
        cells = [
            f"{row['atoms']:,}",
            f"{row['seconds']:.3g}",
            f"{1000 * row['seconds'] / row['atoms']:.3f}",
            f"{row['peak_gib']:.2f}",
            "" if power is None else f"n^{power:.2f}",
            end.get(row["ended_by"], f"fails at {row['ended_at']:,}"),
        ]
        lines.append(line([row["model"], row["mode"], *cells]))
    machine = {"machine": result["measured_on"], "threads": result["threads"]}
    lines.append(
        f"\nOne evaluation of water at the number of atoms in the third column, "
        f"neighbour lists included. Models of width 64 and 3 layers with a cutoff of "
        f"5 Å, on {cores(machine, machine)}, at most {result['memory_gib']:.0f} GiB. "
        "The fastest evaluation counts; of long ones there are one to three (`repeats` "
        "in results/scaling). FLT chooses its path unless the row names one. Time "
        "grows as: from 10,000 atoms on. End: why there is no larger system; empty: "
        "the largest was reached."
    )
    return "\n".join(lines)


def step_profile(result: dict[str, Any]) -> str:
    """Return where the time of a training step goes, and what compiling gains."""
    speeds = "structures/s", "structures/s, compiled"
    lines = header(["training step on", "ms", *speeds, "time by phase"])
    rows = result["rows"]
    for name in ("QM9", "EMT"):
        row, compiled = rows[name], rows[f"{name}, updates compiled"]
        total = sum(row["milliseconds"].values())
        phases = ", ".join(
            f"{phase} {100 * spent / total:.0f} %"
            for phase, spent in row["milliseconds"].items()
        )
        cells = [f"{r['structures_per_second']:.0f}" for r in (row, compiled)]
        lines.append(line([name, f"{total:.0f}", *cells, phases]))
    shares = ", ".join(
        f"{kind} {100 * share:.0f} %"
        for kind, share in sorted(
            rows["QM9"]["share_of_operations"].items(), key=lambda item: -item[1]
        )
    )
    lines.append(
        f"\nOne thread ({result['machine']['processor']}). On QM9: {shares}. "
        "Compiled: the updates of the layers by torch.compile."
    )
    return "\n".join(lines)


def roofline(result: dict[str, Any]) -> str:
    """Return which share of the processor's speed a layer reaches."""
    least = "least time that the processor allows"
    lines = header(["path of a layer", "size", "ms", least])
    for row in result["dense"]:
        size = f"{row['graphs']} graphs of {row['atoms']} atoms"
        share = f"{100 * row['share']:.0f} % of that (its matrix products)"
        lines.append(line(["dense", size, f"{row['layer_ms']:.1f}", share]))
    for row in result["linear"]:
        size = f"{row['atoms']:,} atoms, {row['edges']:,} pairs"
        share = f"{100 * row['share']:.0f} % of that (roofline)"
        lines.append(line(["linear", size, f"{row['layer_ms']:.1f}", share]))
    speed = result["machine_speed"]
    lines.append(
        f"\nNear heads, width 128, vectors, forward, float32, one thread "
        f"({result['machine']['processor']}): products at most "
        f"{speed['peak'] / 1e9:.0f} GFLOP/s, copies at most "
        f"{speed['bandwidth'] / 1e9:.0f} GB/s."
    )
    return "\n".join(lines)


def cores(result: dict[str, Any], job: dict[str, Any]) -> str:
    """Return how many cores of which machine a job had."""
    machine = result["machine"]
    return f"{job['threads']} of {machine['cores']} cores ({machine['processor']})"


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "emt_is2re": emt_is2re,
    "emt_relaxation": emt_relaxation,
    "qm9_geometries": qm9_geometries,
    "nve": nve,
    "scaling": scaling,
    "step_profile": step_profile,
    "roofline": roofline,
    **path_tables.TABLES,
}


OPEN = "Not complete yet; `python benchmarks/accuracy.py --list` shows what is open."
"""In the place of a table whose runs are not all made."""


def made() -> dict[str, str]:
    """Return the text of every table by its name."""
    results = {
        name: json.loads((HERE / "results" / f"{name}.json").read_text())
        for name in TABLES
    }
    texts = {name: table(results[name]) for name, table in TABLES.items()}
    texts["headline"] = headline(read, results["scaling"]) or OPEN
    for name, of_runs in accuracy_tables.TABLES.items():
        texts[name] = of_runs(read) or OPEN
    return texts


def with_tables(pages: list[str]) -> list[str]:
    """Return the pages with the table between any two markers made anew.

    Raises:
        SystemExit: The markers of a table are not on one page once.
    """
    for name, table in made().items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        place = re.compile(f"{begin}.*?{end}", re.DOTALL)
        if sum(len(place.findall(page)) for page in pages) != 1:
            raise SystemExit(f"One page needs the markers {begin} and {end} once.")
        (old,) = (hit[0] for page in pages if (hit := place.search(page)))
        new = f"{begin}\n{table}\n{end}"
        pages = [page.replace(old, new) for page in pages]
    return pages


def main() -> None:
    """Rewrite the pages."""
    texts = with_tables([page.read_text() for page in PAGES])
    for page, text in zip(PAGES, texts, strict=True):
        with atomic_path(page) as temporary:
            temporary.write_text(text)


if __name__ == "__main__":
    main()
