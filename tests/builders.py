"""Small models and structures that tests of several parts share."""

import itertools

import numpy as np
import torch
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, molecule
from torch_geometric.data import Data

from molflt.data.emt.generate import ADSORPTION_ENERGY
from molflt.data.molecule import atoms_to_graph, make_graph
from molflt.model import FLTEncoder, FLTModel
from molflt.targets import TargetSpec

# Far heads that end within 10 Å and fall off before the band's edge, so that Fourier
# sums in the small boxes of tests are exact to 1e-7 or so.
SHORT = {"far_band": 0.6, "far_min_width": 0.1, "far_components": 4}
SEEN = [[True, True, False], [False] * 3]  # directions that are periodic: slabs, drops
PATTERNS = [list(pattern) for pattern in itertools.product([False, True], repeat=3)]


def small_encoder(**options) -> FLTEncoder:
    """Two layers; the same weights for the same options."""
    torch.manual_seed(0)
    small = {"width": 16, "num_layers": 2, "near_components": 8, "head_width": 4}
    return FLTEncoder(**{**small, **SHORT, "far_head_width": 4, **options})


def energy_model(options, extensive=True, dtype=torch.float32) -> FLTModel:
    """A small encoder and an energy."""
    model = FLTModel(
        small_encoder(**options), [TargetSpec("energy", extensive=extensive)]
    )
    with torch.no_grad():
        model.readout("energy").last.weight.mul_(20)  # energies of order one
    return model.to(dtype).eval()


def energy_of(model, path="auto"):
    """The function of a graph that a model's energy is."""
    return lambda data: model(data, path)["energy"]


def at(graph, pos) -> Data:
    """The graph with its atoms elsewhere."""
    moved = graph.clone()
    moved.pos = pos
    return moved


def model_of(*targets, elements=(1, 6, 7, 8, 29)) -> FLTModel:
    """One layer, and a checkpoint's statistics; random weights."""
    encoder = FLTEncoder(width=16, num_layers=1, num_near_heads=2, num_far_heads=1)
    model = FLTModel(encoder, targets or [ADSORPTION_ENERGY])
    reference = {z: -0.1 * z for z in elements}
    set_statistics(model, reference, std=2.0, pbc_seen=SEEN)
    return model.eval()


def model_of_kinds(
    *kinds, elements=(1, 6, 8, 29), options=SHORT, seed=0, targets=()
) -> FLTModel:
    """Two layers, energies e0, e1, ... of these kinds, large offsets and slopes."""
    torch.manual_seed(seed)
    options = {"width": 16, "num_layers": 2, "num_near_heads": 2} | {
        "num_far_heads": 1,
        **options,
    }
    specs = [TargetSpec(f"e{i}", kind=k) for i, k in enumerate(kinds)]
    model = FLTModel(FLTEncoder(**options), [*specs, *targets])
    set_statistics(model, {z: -10.0 * z for z in elements}, 20.0, PATTERNS)
    return model.eval()


def set_statistics(model, reference, std, pbc_seen) -> None:
    """As if trained on the elements of `reference`; means have no references."""
    for spec in model.targets:
        statistics = {
            "element_reference": reference if spec.extensive else {},
            "moment_reference": {},
            "mean": 0.0,
            "std": std,
            "elements": list(reference),
            "pbc_seen": pbc_seen,
        }
        model.set_statistics(spec.name, statistics)


def molecules() -> list[Data]:
    """Four molecules, one of them an atom."""
    return [atoms_to_graph(molecule(name)) for name in ("CH3CH2OH", "H2O", "H", "C6H6")]


def salt() -> Data:
    """A shaken crystal of four atoms."""
    atoms = bulk("NaCl", "rocksalt", 5.6) * (1, 1, 2)
    atoms.rattle(0.1, seed=2)
    return atoms_to_graph(atoms)


def narrow_slab() -> Data:
    """Three shaken layers of two atoms each, and an atom above."""
    atoms = fcc111("Cu", (2, 1, 3), vacuum=5)
    add_adsorbate(atoms, "O", 1.3, "fcc")
    atoms.rattle(0.05, seed=1)
    return atoms_to_graph(atoms)


def oblique_copper() -> Atoms:
    """Three atoms in a cell without right angles, pairs with their own images."""
    atoms = bulk("Cu", "fcc", 3.8) * (3, 1, 1)
    atoms.set_cell(atoms.cell @ np.array([[1, 0.1, 0], [0, 1.05, 0.2], [0, 0, 0.9]]))
    atoms.positions += np.random.default_rng(3).normal(scale=0.2, size=(3, 3))
    return atoms


def copper_slab() -> Atoms:
    """Three layers and an atom, with tags."""
    atoms = fcc111("Cu", (2, 2, 3), vacuum=6.0)
    add_adsorbate(atoms, "O", 1.3, "fcc")
    return atoms


def adsorbed(name="OH", height=1.8, pbc=True) -> Data:
    """A molecule on three shaken layers of copper, with tags."""
    atoms = fcc111("Cu", (2, 2, 3), vacuum=12)
    add_adsorbate(atoms, molecule(name), height, "fcc")
    atoms.pbc = pbc
    atoms.rattle(0.03, seed=1)
    return atoms_to_graph(atoms, tags="ase")


def labelled_slab(seed) -> Data:
    """Two layers of copper with an oxygen atom, shaken; energy and relaxed places."""
    rng = np.random.default_rng(seed)
    layer = np.array([[0, 0, 0], [2.5, 0, 0], [0, 2.5, 0], [2.5, 2.5, 0]])
    pos = np.concatenate([layer, layer + np.array([1.2, 1.2, 1.8]), [[1.2, 1.2, 3.6]]])
    graph = make_graph(
        [29] * 8 + [8],
        pos + 0.1 * rng.normal(size=pos.shape),
        cell=np.diag([5.0, 5.0, 20.0]),
        pbc=[True, True, False],
        tags=[0] * 4 + [1] * 4 + [2],
        sid=str(seed),
        targets={"energy": rng.normal()},
    )
    graph.pos_relaxed = graph.pos + 0.1 * torch.from_numpy(rng.normal(size=pos.shape))
    return graph


def water_frames(count) -> dict[str, np.ndarray]:
    """Water with a total energy and forces, as in files of revised MD17."""
    rng = np.random.default_rng(count)
    places = np.array([[0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]])
    return {
        "nuclear_charges": np.array([8, 1, 1]),
        "coords": places + rng.normal(scale=0.05, size=(count, 3, 3)),
        "energies": rng.normal(-48_000, 2, size=count),
        "forces": rng.normal(scale=20, size=(count, 3, 3)),
    }
