"""Tables of how exact and how fast ways to evaluate a model are."""

from typing import Any

from table_text import header, line, spread

WAYS = {"waves": "plane waves", "nufft": "non-uniform FFT"}


def far_paths(result: dict[str, Any]) -> str:
    """Return errors of far heads summed over frequencies, by tolerance."""
    lines = header(["way", "precision", "tolerance", "scalars", "vectors", "forces"])
    for row in result["agreement"]:
        names = ("scalars_over_norm", "vectors_over_norm", "forces_over_largest")
        errors = [f"{row[name]:.0e}" for name in names]
        precision = row["dtype"].removeprefix("torch.")
        tolerance = f"{row['tolerance']:.0e}"
        lines.append(line([WAYS[row["way"]], precision, tolerance, *errors]))
    lines.append(
        "\nAgainst the dense closed form in float64. Messages: the largest error over "
        "the norm that the tolerance is promised in ([theory]"
        "(theory.md#near-heads-and-far-heads)); forces of a random sum of messages: "
        "over the largest force."
    )
    return "\n".join(lines)


def additive_error(result: dict[str, Any]) -> str:
    """Return distances to exact softmax by numbers of features and frequencies."""
    rows = result["rows"]
    features = list(dict.fromkeys(row["features"] for row in rows))
    columns = [f"m = {m}" if m else "m → ∞" for m in features]
    lines = header(["atoms", "frequencies r", *columns])
    errors = {(r["atoms"], r["frequencies"], r["features"]): r["error"] for r in rows}
    for atoms, frequencies in dict.fromkeys(key[:2] for key in errors):
        cells = [spread([errors[atoms, frequencies, m]]) for m in features]
        lines.append(line([str(atoms), str(frequencies), *cells]))
    lines.append(
        f"\nRelative error (root mean square) of one layer on drops of water, mean of "
        f"{result['draws']} draws of the random features; f has a root mean square of "
        "1. m → ∞: the exponential itself, frequencies alone are drawn."
    )
    return "\n".join(lines)


def predict_throughput(result: dict[str, Any]) -> str:
    """Return molecules a second of `molflt predict` by file format."""
    lines = header(["file", "molecules/s", "the model alone", "share"])
    for name, row in result["by_format"].items():
        speeds = ("predict_per_cpu_second", "model_alone_per_cpu_second")
        cells = [f"{row[speed]:.0f}" for speed in speeds]
        lines.append(line([name, *cells, f"{100 * row['share_cpu']:.0f} %"]))
    memory = result["peak_memory_MiB_by_molecules"]
    sizes = " and ".join(f"{int(n):,}" for n in memory)
    peaks = " and ".join(f"{peak:.0f}" for peak in memory.values())
    lines.append(
        f"\n{result['molecules']:,} molecules of QM9, {result['parameters']:,} "
        f"parameters, one thread ({result['machine']['processor']}), seconds of the "
        f"processor. Largest memory for {sizes} molecules: {peaks} MiB."
    )
    return "\n".join(lines)


TABLES = {
    "far_paths": far_paths,
    "additive_error": additive_error,
    "predict_throughput": predict_throughput,
}
