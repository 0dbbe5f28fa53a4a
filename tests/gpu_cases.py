"""A model of each part that is computed on a GPU, and structures for it."""

import torch
from ase.build import add_adsorbate, bulk, fcc111, molecule

from molflt.model import FLTEncoder, FLTModel
from molflt.targets import TargetSpec

ENCODERS = {
    "near": {"num_far_heads": 0},
    "far": {"num_near_heads": 0, "far_band": 0.6, "far_min_width": 0.1},
    "both": {"far_band": 0.6, "far_min_width": 0.1},
    "matrices": {"num_far_heads": 0, "matrix_head_width": 4},
    "scalars": {"vector_width": 0},
    "density": {"num_far_heads": 0, "density_elements": "HCO"},
    "additive": {"form": "additive", "estimator": "favor"},
}
TARGETS = (
    TargetSpec("energy", "eV", "potential"),
    TargetSpec("dipole", "D", readout="dipole", extensive=False),
)


def molecules():
    return [molecule(name) for name in ("CH3CH2OH", "H2O", "C6H6", "H")]


def crystals():
    slab = fcc111("Cu", (2, 2, 2), vacuum=6.0)
    add_adsorbate(slab, "O", 1.3, "fcc")
    slab.rattle(0.05, seed=0)
    return [slab, bulk("NaCl", "rocksalt", 5.6)]


SYSTEMS = {"open": molecules, "periodic": crystals}


def make_model(name, dtype=torch.float64, system="open"):
    torch.manual_seed(0)
    options = {"width": 32, "num_layers": 2, "num_near_heads": 2, "num_far_heads": 2}
    encoder = FLTEncoder(**(options | ENCODERS[name]))
    targets = TARGETS if system == "open" and encoder.vector_width else TARGETS[:1]
    return FLTModel(encoder, targets).to(dtype)
