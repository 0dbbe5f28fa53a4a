"""Errors of the shipped model of QM9 on molecules it has not seen, and from SMILES.

    python benchmarks/qm9_geometries.py [--molecules 1000] [--root data/qm9]

Labels of QM9 belong to geometries that were relaxed with its functional. Who has a
SMILES alone gives the model a conformer of RDKit's, relaxed with MMFF94, as
`molflt predict` does with .smi files. So each molecule is evaluated twice: at the
geometry of QM9, and at a conformer that is made anew from its bonds. Molecules whose
bonds RDKit does not find in the geometry, or that it cannot embed, are left out of
both, and counted.

The molecules are the first of the test set of the split that the model was trained on.

Writes results/qm9_geometries.json: mean absolute errors of both by target, and the
standard deviation of the labels.
"""

import argparse
from io import StringIO
from typing import Any

import ase.io
import numpy as np
import torch
from ase import Atoms
from rdkit import Chem
from rdkit.Chem.rdDetermineBonds import DetermineBonds
from rdkit.rdBase import BlockLogs
from record import write_result

from molflt import load
from molflt.data import QM9
from molflt.data.molecule import graph_to_atoms
from molflt.data.smiles import smiles_to_atoms
from molflt.errors import InputError

SPLIT = {"split": "random:0", "num_train": 110_000, "num_val": 2_000}
"""As `scripts/train_shipped.py qm9-properties` was given it."""


def main(words: list[str] | None = None) -> dict[str, Any]:
    """Evaluate, write; return what is written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--checkpoint", default="qm9-properties", help="default: the shipped one")
    add("--root", default="data/qm9", help="folder of QM9")
    add("--molecules", type=int, default=1000)
    options = parser.parse_args(words)
    torch.set_num_threads(1)

    model = load(options.checkpoint)
    names = [spec.name for spec in model.targets]
    data = QM9(options.root, target=names, **SPLIT)
    data.setup()
    test = data.test["test"]
    graphs = [test[index] for index in range(min(options.molecules, len(test)))]
    pairs = [(graph, remade(graph_to_atoms(graph))) for graph in graphs]
    kept = [(graph, atoms) for graph, atoms in pairs if atoms is not None]
    labels = {name: np.array([float(g[name]) for g, _ in kept]) for name in names}
    at_own = model.predict([graph_to_atoms(graph) for graph, _ in kept])
    at_new = model.predict([atoms for _, atoms in kept])
    result = {
        "checkpoint": options.checkpoint,
        "molecules": len(kept),
        "left_out": len(graphs) - len(kept),
        "targets": {
            spec.name: {
                "unit": spec.unit,
                "mae": error(at_own[spec.name], labels[spec.name]),
                "mae_from_smiles": error(at_new[spec.name], labels[spec.name]),
                "standard_deviation": float(labels[spec.name].std()),
            }
            for spec in model.targets
        },
    }
    print(write_result("qm9_geometries", result))
    return result


def error(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean absolute error."""
    return float(np.abs(predicted - labels).mean())


def remade(atoms: Atoms) -> Atoms | None:
    """Return a conformer of a molecule from its SMILES; None if there is none."""
    text = StringIO()
    ase.io.write(text, atoms, format="xyz")
    with BlockLogs():
        found = Chem.MolFromXYZBlock(text.getvalue())
        try:
            DetermineBonds(found, charge=0)
        except ValueError:
            return None
    try:
        again = smiles_to_atoms(Chem.MolToSmiles(Chem.RemoveHs(found)))
    except InputError:
        return None
    if again.symbols.formula.format("hill") != atoms.symbols.formula.format("hill"):
        return None
    return again


if __name__ == "__main__":
    main()
