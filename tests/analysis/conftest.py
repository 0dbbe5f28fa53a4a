"""Small models and structures, float64, so that rounding cannot hide a mistake."""

import pytest
import torch
from ase.build import add_adsorbate, fcc111, molecule

from molflt.data.molecule import atoms_to_graph
from molflt.model import FLTEncoder, FLTModel
from molflt.targets import TargetSpec

SMALL = {"width": 16, "num_layers": 2, "near_components": 8, "head_width": 4}
# Far heads that end within 10 Å, so that sums over images stay short.
FAR = {"far_band": 0.6, "far_min_width": 0.1, "far_components": 4, "far_head_width": 4}
ENERGY = TargetSpec("energy")


def build_model(dtype=torch.float64, targets=(ENERGY,), **options):
    torch.manual_seed(0)
    encoder = FLTEncoder(**{**SMALL, **FAR, **options})
    return FLTModel(encoder, targets).to(dtype).eval()


def slab_graph():
    slab = fcc111("Cu", (1, 2, 2), vacuum=4)
    add_adsorbate(slab, molecule("CO"), 1.9, "ontop", mol_index=1)
    slab.rattle(0.05, seed=3)
    return atoms_to_graph(slab, tags="auto")


def molecule_graph():
    return atoms_to_graph(molecule("CH3CH2OH"))


@pytest.fixture(params=["open", "periodic"])
def graph(request):
    return molecule_graph() if request.param == "open" else slab_graph()
