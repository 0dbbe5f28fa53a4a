"""Write a checkpoint of every part a model can have, and what it predicts.

    python tests/checkpoints/make.py NAME

makes NAME.ckpt and NAME.json beside this file, for `tests/test_old_checkpoints.py`.
Files that are there are never written again: they stand for what users keep. Run it for
a new format, or for a part that no file has yet.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from molflt.checkpoint import save_model
from molflt.data.molecule import make_graph
from molflt.evaluation import Request, evaluate
from molflt.model import FLTEncoder, FLTModel
from molflt.targets import TargetSpec

FOLDER = Path(__file__).resolve().parent
SMALL = {"width": 8, "num_layers": 2, "near_components": 4, "far_components": 3}
SMALL |= {"head_width": 4, "vector_head_width": 2, "far_head_width": 2, "cutoff": 4.0}
ENERGY = TargetSpec("energy", reference="E(total)")
ENCODERS = {
    "masked": SMALL
    | {"vector_width": 4, "num_near_heads": 2, "num_far_heads": 1}
    | {"matrix_head_width": 2},
    "softmax": SMALL | {"num_layers": 1, "form": "additive", "num_far_heads": 2},
    "favor": SMALL
    | {"num_layers": 1, "form": "additive", "num_far_heads": 2, "estimator": "favor"}
    | {"spectrum": "free", "num_frequencies": 4, "num_features": 8},
}
TARGETS = {
    "masked": [
        ENERGY,
        TargetSpec("adsorption", kind="relaxed", readout="tags"),
        TargetSpec("gap", kind="property", extensive=False),
        TargetSpec("homo", kind="property", extensive=False, readout="attention"),
        TargetSpec("mu", "D", "property", extensive=False, readout="dipole"),
        TargetSpec("r2", "a0^2", "property", readout="extent"),
        TargetSpec("alpha", "a0^3", "property", readout="polarisability"),
    ],
    "softmax": [ENERGY],
    "favor": [ENERGY],
}


def structures(periodic: bool) -> list[dict]:
    """Return arrays of a molecule and, perhaps, of a small slab with tags."""
    rng = np.random.default_rng(0)
    water = {"z": [8, 1, 1], "pos": [[0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]]}
    places = np.array([[x, y, 0.0] for x in (0, 2.5) for y in (0, 2.5)])
    slab = {
        "z": [29] * 4 + [8],
        "pos": (np.concatenate([places, [[1.2, 1.3, 1.4]]]) + 0.1 * rng.random((5, 3))),
        "cell": [[5.0, 0, 0], [0.5, 5.0, 0], [0, 0, 12.0]],
        "pbc": [True, True, False],
        "tags": [0, 0, 1, 1, 2],
    }
    slab["pos"] = slab["pos"].round(6).tolist()
    return [water, slab] if periodic else [water]


def predictions(model: FLTModel, system: dict) -> dict[str, list[float]]:
    """Return all targets that the structure has, and forces of the energy."""
    graph = make_graph(**system)
    names = [spec.name for spec in model.targets]
    found = evaluate(model, graph, Request(names, energy="energy", forces=True))
    arrays = {k: v for k, v in found.arrays.items() if k not in found.failures}
    return {name: array.ravel().tolist() for name, array in arrays.items()}


def main(name: str) -> None:
    """Write the two files."""
    paths = [FOLDER / f"{name}.{suffix}" for suffix in ("ckpt", "json")]
    if any(path.exists() for path in paths):
        raise SystemExit(f"{paths[0]} is there; what users have is not written again.")
    form = name.partition("_")[0]
    torch.manual_seed(7)
    model = FLTModel(FLTEncoder(**ENCODERS[form]), TARGETS[form])
    with torch.no_grad():  # parts that start at zero must count too
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    for spec in model.targets:
        reference = {1: -13.6, 8: -2040.5, 29: -3.5} if spec.extensive else {}
        statistics = {"element_reference": reference, "mean": 0.5, "std": 1.5}
        statistics |= {"elements": [1, 8, 29], "pbc_seen": [[True, True, False]]}
        if spec.readout == "extent":
            statistics["moment_reference"] = {1: 0.5, 8: 2.0, 29: 1.0}
        model.set_statistics(spec.name, statistics)
    model.double().eval()
    save_model(model, paths[0], extra={"made by": "tests/checkpoints/make.py"})
    systems = structures(periodic=form != "favor")
    content = [{**s, "predictions": predictions(model, s)} for s in systems]
    paths[1].write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
