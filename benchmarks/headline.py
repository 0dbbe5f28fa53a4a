"""The two sentences of numbers at the top of the README."""

from statistics import mean
from typing import Any

from plan import SHORT, Read
from table_runs import choices, over_seeds
from table_text import spread

PEERS = ("SchNet", "PaiNN", "ET")


def headline(read: Read, scaling: dict[str, Any]) -> str | None:
    """Return errors on U0 and the largest systems; None while a run is open."""
    chosen = choices(read)
    if chosen is None:
        return None
    found = {family: over_seeds(chosen[family], read) for family in ("FLT", *PEERS)}
    if not all(found.values()):
        return None
    errors = {
        family: spread([1000 * mean(r["test"]["test_mae"] for r in results)])
        for family, results in found.items()
    }
    others = ", ".join(f"{family} {errors[family]}" for family in PEERS)
    rows = {(row["model"], row["mode"]): row for row in scaling["rows"]}
    ours = [rows["FLT near and far", mode] for mode in ("energy", "energy and forces")]
    energy, forces = (f"{r['seconds']:.0f} s and {r['peak_gib']:.0f} GiB" for r in ours)
    most = [f"{rows[family, 'energy and forces']['atoms']:,}" for family in PEERS]
    structures = f"{chosen['FLT'].train:,} molecules and {SHORT // 60} CPU-minutes"
    return (
        f"- **Accurate.** Internal energy of QM9 from {structures}: "
        f"{errors['FLT']} meV ({others} meV).\n"
        f"- **Linear.** {ours[0]['atoms']:,} atoms, near and far heads, on "
        f"{scaling['threads']} cores: the energy takes {energy}, with forces "
        f"{forces}. In {scaling['memory_gib']:.0f} GiB, {', '.join(PEERS)} come to "
        f"{', '.join(most)} atoms with forces."
    )
