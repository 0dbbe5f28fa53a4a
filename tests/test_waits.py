"""How often the host waits for a GPU in a step: at the start of a pass alone."""

import pytest
import torch

from molflt.data.batching import collate
from molflt.data.molecule import atoms_to_graph
from molflt.model import sites_of
from molflt.training.objective import Objective
from molflt.training.optimizers import adamw

from .gpu_cases import SYSTEMS, TARGETS, make_model
from .pretend_gpu import DEVICE, PretendGPU

# Random projections and elements that are not told apart are as good as others here.
pytestmark = pytest.mark.filterwarnings("ignore:(The d|D)ensity features")

# Sizes, pairs (places for them in periodic systems) and elements; density features ask
# for rows of edges and for the atoms of each element, dipoles for periodic directions.
WAITS = {
    ("near", "open"): 3,
    ("scalars", "open"): 3,
    ("matrices", "open"): 3,
    ("both", "open"): 3,
    ("density", "open"): 5,
    ("near", "periodic"): 3,
    ("density", "periodic"): 5,
    ("both", "periodic"): 8,  # and lattices, their boxes and bands
}


@pytest.mark.parametrize(("name", "system"), WAITS)
@pytest.mark.parametrize("force_weight", [0.0, 5.0])
def test_waits_of_a_step(name, system, force_weight):
    model = make_model(name, torch.float32, "periodic")
    batch = collate([atoms_to_graph(atoms) for atoms in SYSTEMS[system]()])
    batch.energy = torch.zeros(batch.num_graphs, dtype=torch.float64)
    batch.forces = torch.zeros_like(batch.pos)
    with PretendGPU() as gpu:
        model.to(DEVICE)
        objective = Objective(model.encoder, "l1", force_weight, 0.0, 0.0, "linear")
        optimizer = adamw(model, 1e-3, weight_decay=0.01)
        batch = batch.to(DEVICE)
        gpu.waits.clear()
        loss = objective(model, batch, 0.5).loss
        assert len(gpu.waits) == WAITS[name, system], gpu.waits
        gpu.waits.clear()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        assert not gpu.waits


def test_streamed_layers_wait_once_for_all_blocks(monkeypatch):
    from molflt.nn import streaming
    from molflt.nn.near.paths import COSTS

    monkeypatch.setattr(COSTS, "stream_edges", 0)
    model = make_model("near", torch.float32, "periodic")
    batch = collate([atoms_to_graph(atoms) for atoms in SYSTEMS["open"]()])
    counts = []
    for atoms in (len(batch.z), 3):
        monkeypatch.setattr(streaming, "block_atoms", lambda *_, size=atoms: size)
        with PretendGPU() as gpu:
            given = batch.clone().to(DEVICE)
            moved = model.to(DEVICE)
            gpu.waits.clear()
            moved.energy_and_forces(given, "energy", path="linear")
            counts.append(len(gpu.waits))
            model = moved.to("cpu")
    assert counts[0] == counts[1], gpu.waits


def test_dipoles_ask_for_periodic_directions():
    model = make_model("near", torch.float32)
    assert len(model.targets) == len(TARGETS)
    batch = collate([atoms_to_graph(atoms) for atoms in SYSTEMS["open"]()])
    with PretendGPU() as gpu:
        model.to(DEVICE)
        batch = batch.to(DEVICE)
        gpu.waits.clear()
        model.normalised(batch)
        assert len(gpu.waits) == WAITS["near", "open"] + 1, gpu.waits


def test_sizes_of_graphs_are_not_waited_for():
    batch = collate([atoms_to_graph(atoms) for atoms in SYSTEMS["open"]()])
    expected = batch.ptr.diff()[batch.batch].double()
    with PretendGPU() as gpu:
        sites = sites_of(batch.to(DEVICE))
        gpu.waits.clear()
        size = sites.size()
        assert not gpu.waits
        assert torch.equal(size.cpu(), expected)
