"""Far heads learn what no local model can: fragments that feel each other far away."""

import math

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch

from molflt.data.dataset import GraphList
from molflt.data.molecule import make_graph
from molflt.data.statistics import fit_statistics
from molflt.model import FLTEncoder, FLTModel
from molflt.targets import TargetSpec

CUTOFF = 3.0  # Å; with one layer and the embedding an atom knows of 6 Å
CHARGE = {1: 1.0, 8: -1.0}
SPEC = TargetSpec("energy", kind="potential")


def two_fragments(seed):
    """Two dimers 6 to 14 Å apart with E = 5 q1 q2 exp(-R / 5 Å) eV.

    The charge q of a dimer is that of its H or O; carbon has none. No atom of one is
    within the receptive field of the other, so a local model knows only one charge, and
    the mean over the other is 0.
    """
    rng = np.random.default_rng(seed)
    ends = rng.choice([1, 8], 2)
    axes = rng.normal(size=(3, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    separation = rng.uniform(6.0, 14.0)
    far = separation * axes[0]
    out = 1.0 * np.array([-axes[0], axes[0]])  # carbons on the far sides
    pos = np.stack([0 * far, out[0], far, far + out[1]])
    energy = 5 * CHARGE[ends[0]] * CHARGE[ends[1]] * math.exp(-separation / 5)
    z = np.array([ends[0], 6, ends[1], 6])
    return make_graph(z, pos, sid=str(seed), targets={"energy": energy})


@pytest.fixture(scope="module")
def sets():
    train = [two_fragments(seed) for seed in range(256)]
    test = [two_fragments(10_000 + seed) for seed in range(256)]
    return train, Batch.from_data_list(test)


def trained_error(num_far_heads, sets):
    """Train for a few seconds; return the test error over the mean |E|."""
    train, test = sets
    torch.manual_seed(0)
    encoder = FLTEncoder(
        width=32,
        num_layers=1,
        num_near_heads=2,
        num_far_heads=num_far_heads,
        cutoff=CUTOFF,
        vector_width=8,
    )
    model = FLTModel(encoder, (SPEC,))
    model.set_statistics("energy", fit_statistics(GraphList(train), SPEC).plain())
    steps, batch = 150, Batch.from_data_list(train)
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, steps)
    labels = model.normalise("energy", batch.energy, batch)
    for _ in range(steps):
        loss = (model.normalised(batch)["energy"] - labels).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        error = (model(test)["energy"] - test.energy).abs().mean()
    return float(error / test.energy.abs().mean())


def test_fragments_beyond_the_near_cutoff_are_learned_with_far_heads_alone(sets):
    assert trained_error(1, sets) < 0.2
    assert trained_error(0, sets) > 0.9
