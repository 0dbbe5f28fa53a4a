"""Errors of the shipped model of QM9, by what geometry it is given.

    python benchmarks/qm9_geometries.py [--molecules 2000] [--root data/qm9]

Labels of QM9 belong to geometries that were relaxed with its functional. Who has a
SMILES alone gives the model a conformer of RDKit's, relaxed with MMFF94, as `molflt
predict` does with .smi files. So each molecule is evaluated three times:

- `dft`: at the geometry of QM9;
- `mmff`: at the minimum of MMFF94 next to it, within `qm9.mmff.FARTHEST`;
- `smiles`: at a conformer that is made anew from its bonds, often another one.

The molecules are the first of the test set of the split that the model was trained on,
without those whose bonds RDKit does not find, or for which it has no conformer or
minimum. How many these are is written, too.

Small molecules are few in QM9, and averages say nothing of them: errors by the number
of heavy atoms are of the whole test set, and of small training molecules, at `dft`.

Writes results/qm9_geometries.json: mean absolute errors by target.
"""

import argparse
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from rdkit import Chem
from record import write_result
from torch_geometric.data import Data

from molflt import FLTModel, load
from molflt.data import QM9
from molflt.data.dataset import GraphDataset
from molflt.data.formats.mmff import bonded
from molflt.data.formats.smiles import smiles_to_atoms
from molflt.data.molecule import graph_to_atoms
from molflt.data.qm9.mmff import near_minimum
from molflt.errors import InputError

GEOMETRIES = ("dft", "mmff", "smiles")
MOLECULES = 124_742
"""QM9 without fluorine: a split of another number would have training molecules."""
SPLIT = {"split": "random:0", "num_train": 110_000, "num_val": 2_000}
"""As in `scripts/train_shipped.py`."""


SMALL = 4
"""Heavy atoms, up to which molecules are counted together."""


def main(words: list[str] | None = None) -> dict[str, Any]:
    """Evaluate, write; return what is written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--checkpoint", default="qm9-properties", help="default: the shipped one")
    add("--root", default="data/qm9", help="folder of QM9")
    add("--molecules", type=int, default=2000)
    options = parser.parse_args(words)
    torch.set_num_threads(1)

    model = load(options.checkpoint)
    names = [spec.name for spec in model.targets]
    data = QM9(options.root, target=names, **SPLIT)
    data.setup()
    if data.split.total != MOLECULES:
        raise SystemExit(
            f"{options.root} has {data.split.total:,} molecules, not the {MOLECULES:,} "
            "without fluorine of which the shipped model was trained on a part."
        )
    test = data.test["test"]
    graphs = [test[index] for index in range(min(options.molecules, len(test)))]
    tried = {graph.sid: geometries(graph_to_atoms(graph)) for graph in graphs}
    graphs = [graph for graph in graphs if tried[graph.sid] is not None]
    by_geometry = {}
    started = time.process_time()
    for which, geometry in enumerate(GEOMETRIES):
        given = [tried[graph.sid][which] for graph in graphs]
        by_geometry[geometry] = mean_errors(model, given, graphs)
    seconds = time.process_time() - started
    result = {
        "checkpoint": options.checkpoint,
        "molecules": len(graphs),
        "left_out": len(tried) - len(graphs),
        "origin": model.origin,
        "units": {spec.name: spec.unit for spec in model.targets},
        "mae": {
            name: {geometry: found[name] for geometry, found in by_geometry.items()}
            for name in names
        },
        "small": SMALL,
        "by_size": [
            *by_size(model, data.train, "training", most=SMALL),
            *by_size(model, test, "test"),
        ],
        "molecules_per_second": round(len(GEOMETRIES) * len(graphs) / seconds, 1),
    }
    print(write_result("qm9_geometries", result))
    return result


def mean_errors(
    model: FLTModel, structures: Sequence[Atoms], graphs: Sequence[Data]
) -> dict[str, float]:
    """Return the mean absolute error of each target at some geometries.

    Args:
        model: The model.
        structures: The geometries.
        graphs: The same molecules with their labels.
    """
    return {
        name: float(np.abs(values - [float(graph[name]) for graph in graphs]).mean())
        for name, values in model.predict(structures).items()
    }


def by_size(
    model: FLTModel, graphs: GraphDataset, part: str, most: int | None = None
) -> list[dict[str, Any]]:
    """Return errors at QM9's geometry by the number of heavy atoms.

    Args:
        model: The model.
        graphs: Molecules with labels.
        part: Which part of QM9 they are.
        most: Heavy atoms of the molecules that are looked at; None: all molecules.
    """
    groups: dict[int, list[Data]] = {}
    # With as many hydrogen atoms as it can have, C_n H_(2n + 2).
    largest = np.inf if most is None else 3 * most + 2
    for index in np.flatnonzero(graphs.num_atoms <= largest):
        graph = graphs[int(index)]
        heavy = int((graph.z > 1).sum())
        if most is None or heavy <= most:
            groups.setdefault(max(heavy, SMALL), []).append(graph)
    rows = []
    for heavy, found in sorted(groups.items()):
        mae = mean_errors(model, [graph_to_atoms(graph) for graph in found], found)
        row = {"part": part, "heavy_atoms": heavy, "molecules": len(found), "mae": mae}
        rows.append(row)
    return rows


def geometries(atoms: Atoms) -> tuple[Atoms, Atoms, Atoms] | None:
    """Return a molecule at the geometries of `GEOMETRIES`; None: one is missing."""
    relaxed = near_minimum(atoms.numbers, atoms.positions)
    molecule = bonded(atoms.numbers, atoms.positions)
    if relaxed is None or molecule is None:
        return None
    try:
        again = smiles_to_atoms(Chem.MolToSmiles(Chem.RemoveHs(molecule)))
    except InputError:
        return None
    if sorted(again.numbers) != sorted(atoms.numbers):  # the SMILES says less
        return None
    moved = atoms.copy()
    moved.positions = relaxed
    return atoms, moved, again


if __name__ == "__main__":
    main()
