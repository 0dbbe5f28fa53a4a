"""Everything a report shows, as plain values and sentences."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ase.data import chemical_symbols, covalent_radii
from ase.data.colors import jmol_colors
from numpy.typing import NDArray
from torch_geometric.data import Data

from molflt.analysis.bonds import bonds
from molflt.analysis.contributions import Contributions, energy_contributions
from molflt.analysis.images import reduced_cell
from molflt.analysis.kernels import (
    are_means_over_directions,
    head_densities,
    head_kernels,
)
from molflt.analysis.plots import SHORTEST
from molflt.data.molecule import graph_to_atoms
from molflt.model import FLTModel
from molflt.report.rows import BUDGET, KeptRows, encoded, keep_rows

FORCE_LIMIT = 1500  # atoms; forces take the memory of a training step
BOND_LIMIT = 1500  # atoms; with more, bonds would slow the picture down
POINTS = 160  # of a curve


def report_content(
    model: FLTModel,
    graph: Data,
    target: str | None = None,
    *,
    structure: str = "",
    tags: str = "",
    remarks: Sequence[str] = (),
    budget: int = BUDGET,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Return what the page of one structure shows, as JSON-like values.

    Args:
        model: The model.
        graph: The structure.
        target: Name of the target; None: the only one.
        structure: What the structure is called.
        tags: How its tags were read.
        remarks: What it has and the training set has not, as warnings.
        budget: Bytes of attention rows.
        say: Told what is being done.

    Raises:
        UsageError: No such target, or it is no sum over atoms.
    """
    forces = len(graph.z) <= FORCE_LIMIT
    shares = energy_contributions(model, graph, target, forces)
    spec = model.target_spec(shares.target)
    say("attention")
    order = _first(graph)
    rows = keep_rows(model, graph, spec.name, order, budget, say)
    say("kernels and spectra")
    curves, exactness = _curves(model)
    return _drawn(graph) | {
        "structure": structure,
        "tags": tags,
        "remarks": list(remarks),
        "target": {
            "name": spec.name,
            "unit": spec.unit,
            "kind": spec.kind,
            "reference": spec.reference,
            "value": shares.value,
        },
        "learned": _shortened(shares.learned),
        "terms": _shortened(shares.terms),
        "forces": None if shares.forces is None else _shortened(shares.forces.ravel()),
        "attention": rows.plain(),
        "start": _start(graph, rows.atoms),
        "curves": curves,
        "notes": _notes(graph, rows, shares) + exactness + _left_out(model, graph),
        "directions": are_means_over_directions(model),
    }


def _drawn(graph: Data) -> dict[str, Any]:
    """Return the structure itself: what the picture of it is drawn from."""
    z = graph.z.cpu().numpy()
    pos = graph.pos.double().cpu().numpy()
    pos = pos - pos.mean(axis=0)
    return {
        "formula": graph_to_atoms(graph).get_chemical_formula(),
        "z": z.tolist(),
        "elements": {
            int(each): {
                "symbol": chemical_symbols[each],
                "radius": round(float(covalent_radii[each]), 2),
                "colour": "#{:02x}{:02x}{:02x}".format(
                    *(round(255 * float(part)) for part in jmol_colors[each])
                ),
            }
            for each in np.unique(z)
        },
        "pos": encoded(pos.astype("<f4")),
        "cell": graph.cell[0].tolist() if "cell" in graph else None,
        "pbc": graph.pbc[0].tolist() if "pbc" in graph else [False] * 3,
        "images": _images(graph),
        "bonds": _bonds(z, pos),
    }


def _first(graph: Data) -> NDArray[np.int64]:
    """Return all atoms: adsorbate, surface, then the others, evenly spread."""
    n = len(graph.z)
    tags = graph.tags.cpu().numpy() if "tags" in graph else np.full(n, -1)
    # Bit-reversed order: every beginning of the list is spread over the structure.
    bits = max(1, (n - 1).bit_length())
    spread = np.array([int(f"{i:0{bits}b}"[::-1], 2) for i in range(n)])
    return np.lexsort((spread, -tags)).astype(np.int64)


def _start(graph: Data, kept: NDArray[np.int64]) -> int:
    """Return the atom to begin with: the heaviest of the adsorbate, or of all."""
    z = graph.z.cpu().numpy()[kept]
    tags = graph.tags.cpu().numpy()[kept] if "tags" in graph else np.zeros(len(kept))
    return int(kept[np.lexsort((-z, -tags))[0]])


def _images(graph: Data) -> dict[str, Any] | None:
    """Return the reduced cell, and its inverse, of a structure with images."""
    if "cell" not in graph or "pbc" not in graph or not graph.pbc.any():
        return None
    cell = reduced_cell(graph.cell[0].double().cpu().numpy(), graph.pbc[0].tolist())
    return {"cell": cell.tolist(), "inverse": np.linalg.inv(cell).tolist()}


def _bonds(z: NDArray[np.int64], pos: NDArray[np.float64]) -> list[int]:
    if len(z) > BOND_LIMIT:
        return []
    return np.stack(bonds(z, pos), axis=1).ravel().tolist()


def _shortened(values: NDArray[np.float64]) -> list[float]:
    return [float(f"{value:.10g}") for value in values]


def _rounded(values: NDArray[np.float64], digits: int) -> list[float]:
    return [float(f"{value:.{digits}f}") for value in values]


def _curves(model: FLTModel) -> tuple[list[dict[str, Any]], list[str]]:
    """Return scaled f(r) and 4 pi q^2 g(q) of all groups; how exact the latter are."""
    groups = []
    errors: dict[str, float] = {}  # of near and far heads, relative
    pairs = zip(
        head_kernels(model, num_points=POINTS),
        head_densities(model, num_points=POINTS),
        strict=True,
    )
    for kernel, density in pairs:
        seen = kernel.r >= SHORTEST
        weighted = 4 * np.pi * density.q**2 * density.g
        peak = np.abs(weighted).max(axis=1, initial=0.0)
        margin = 4 * np.pi * density.q[-1] ** 2 * density.error
        error = float(np.max(margin / np.where(peak > 0, peak, 1.0)))
        errors[density.group] = max(errors.get(density.group, 0.0), error)
        groups.append(
            {
                "layer": kernel.layer,
                "group": kernel.group,
                "r": _rounded(kernel.r[seen], 3),
                "f": [_scaled(row) for row in kernel.f[:, seen]],
                "q": _rounded(density.q, 4),
                "g": [_scaled(row) for row in weighted],
            }
        )
    return groups, _exactness(errors)


def _exactness(errors: dict[str, float]) -> list[str]:
    return [
        f"Spectra of {group} heads are numerical, exact within {error:.0e} of their "
        "largest value."
        if error
        else f"Spectra of {group} heads are closed forms."
        for group, error in errors.items()
    ]


def _scaled(row: NDArray[np.float64]) -> list[float]:
    return _rounded(row / (np.abs(row).max(initial=0.0) or 1.0), 4)


def _left_out(model: FLTModel, graph: Data) -> list[str]:
    """Say which atoms the model does not look at, if there are any."""
    n = len(graph.z)
    hidden = n - len(model.encoder.seen(graph).z)
    if not hidden:
        return []
    return [
        f"This model leaves out sub-surface atoms (tag 0), {hidden:,} of {n:,} here: "
        "they get and give no attention."
    ]


def _notes(graph: Data, rows: KeptRows, shares: Contributions) -> list[str]:
    """Say what is rounded or left out."""
    n, kept = len(graph.z), rows.level.shape[2]
    gap = abs(float(shares.terms.sum()) - shares.value)
    notes = [
        f"The contributions sum to the prediction within {gap:.1e} {shares.unit}.",
        "Attention weights are rounded to 8 bits: to 1/127 of the largest weight of "
        "their row.",
    ]
    if rows.index is not None:
        notes.append(
            f"Of each row of {n:,} weights the {kept} largest are kept: at least "
            f"{100 * rows.smallest_kept:.0f} % of the sum of sizes. Shares refer to "
            "the whole row."
        )
    if len(rows.atoms) < n:
        notes.append(
            f"The attention of {len(rows.atoms):,} of {n:,} atoms is on this page: "
            "adsorbate and surface first, then others, evenly spread."
        )
    if not any(channel["kind"] == "effect" for channel in rows.channels):
        notes.append(
            "Effects of messages on the prediction are left out of large structures; "
            "molflt.analysis.message_attribution gives them for chosen atoms."
        )
    if n > FORCE_LIMIT:
        notes.append("Forces are left out of structures of this size.")
    if n > BOND_LIMIT:
        notes.append("Bonds are not drawn in structures of this size.")
    return notes
