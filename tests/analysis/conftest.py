"""Small models and structures, float64, so that rounding cannot hide a mistake."""

import pytest
import torch
from ase.build import add_adsorbate, fcc111, molecule

from molflt.data.molecule import atoms_to_graph
from molflt.model import FLTModel
from molflt.targets import TargetSpec
from tests.builders import small_encoder

ENERGY = TargetSpec("energy")


def build_model(dtype=torch.float64, targets=(ENERGY,), **options):
    return FLTModel(small_encoder(**options), targets).to(dtype).eval()


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
