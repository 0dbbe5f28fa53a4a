"""The auxiliary task on displacements."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group
from torch_geometric.data import Batch

from molflt.checkpoint import load
from molflt.errors import InputError, UsageError
from molflt.model import FLTEncoder
from molflt.training.displacement import DisplacementTerm, shortest
from tests.training.boxes import BOXES, boxed
from tests.training.clusters import Clusters


def encoder(**options):
    torch.manual_seed(0)
    return FLTEncoder(width=8, num_layers=1, num_near_heads=2, **options).double()


def test_shortest_images_of_a_batch():
    vectors = torch.from_numpy(np.random.default_rng(1).normal(size=(200, 3)) * 8)
    cells = torch.from_numpy(np.stack([cell for cell, _ in BOXES.values()]))
    pbc = torch.tensor([pbc for _, pbc in BOXES.values()])
    index = torch.arange(len(vectors)) * len(BOXES) // len(vectors)
    found = shortest(vectors, index, cells, pbc)
    for graph, (cell, periodic) in enumerate(BOXES.values()):
        part = index == graph
        reach = [range(-9, 10) if direction else [0] for direction in periodic]
        lattice = np.array(list(product(*reach))) @ cell
        images = vectors[part].numpy()[:, None] + lattice
        shortest_length = np.linalg.norm(images, axis=2).min(axis=1)
        length = np.linalg.norm(found[part], axis=1)
        np.testing.assert_allclose(length, shortest_length, rtol=1e-12)
        away = np.abs(images - found[part].numpy()[:, None]).sum(axis=2)
        assert away.min(axis=1).max() < 1e-9  # an image, and nothing else


@pytest.mark.parametrize("box", BOXES)
def test_wrapped_relaxed_positions_are_the_same_task(box):
    """Atoms that left the cell through one face may be stored inside again."""
    term = DisplacementTerm(encoder(), "l1", 1.0, "linear").double()
    graph = boxed(box)
    wrapped = graph.clone()
    steps = torch.tensor([[0, 0, 0], [1, 0, 0], [0, -1, 0], [2, 1, 0], [-1, 1, 0]])
    moves = steps.double() * graph.pbc
    wrapped.pos_relaxed = graph.pos_relaxed + moves @ graph.cell[0]
    values = []
    for each in (graph, wrapped):
        batch = Batch.from_data_list([each, boxed("open", 1)])
        x, vec = encoder()(batch)
        values.append(term(x, vec, batch, 0.0)[0])
    torch.testing.assert_close(*values, rtol=1e-10, atol=1e-10)


def test_head_turns_with_the_structure_and_sees_free_atoms_alone():
    core = encoder()
    term = DisplacementTerm(core, "mse", 2.0, "linear").double()
    graph = boxed("open")
    turn = torch.from_numpy(ortho_group.rvs(3, random_state=0))
    turned = graph.clone()
    turned.pos, turned.pos_relaxed = graph.pos @ turn.T, graph.pos_relaxed @ turn.T
    losses = []
    for each in (graph, turned):
        batch = Batch.from_data_list([each])
        x, vec = core(batch)
        losses.append(term(x, vec, batch, 0.0)[0])
    torch.testing.assert_close(*losses, rtol=1e-10, atol=1e-10)
    batch = Batch.from_data_list([graph])
    x, vec = core(batch)
    predicted = term.head(x, vec)[1].squeeze(2)
    error = (predicted - (graph.pos_relaxed - graph.pos))[~graph.fixed]
    assert predicted.abs().max() > 1e-6
    torch.testing.assert_close(losses[0], 2.0 * error.square().sum(1).mean())
    _, errors = term(x, vec, batch, 0.0)
    torch.testing.assert_close(errors.mean(), error.detach().abs().mean())
    moved = graph.clone()
    moved.pos_relaxed[1] += 1.0
    batch = Batch.from_data_list([moved])
    torch.testing.assert_close(term(x, vec, batch, 0.0)[0], losses[0])


@pytest.mark.parametrize(
    ("decay", "middle"), [("linear", 0.75), ("cosine", (1 + 0.5**0.5) / 2)]
)
def test_weight_falls_to_zero(decay, middle):
    term = DisplacementTerm(encoder(), "l1", 4.0, decay)
    at = [term.weight_at(t) for t in (0.0, 0.25, 0.5, 1.0)]
    assert at == pytest.approx([4.0, 4.0 * middle, 2.0, 0.0])


def test_the_head_is_trained_but_not_part_of_the_model(
    make_task, make_trainer, tmp_path
):
    task = make_task(displacement_weight=1.0)
    start = {n: p.clone() for n, p in task.objective.named_parameters()}
    trainer = make_trainer(max_epochs=2)
    trainer.fit(task, datamodule=Clusters())
    assert "train/displacement/mae_A" in trainer.callback_metrics
    moved = [
        name
        for name, p in task.objective.named_parameters()
        if not torch.equal(p, start[name])
    ]
    assert moved
    path = tmp_path / "a" / "last.ckpt"
    record = torch.load(path, weights_only=True)["molflt"]
    assert not [name for name in record["state"] if "displacement" in name]
    assert load(path)(Clusters().load_splits()[0][0])["energy"].isfinite().all()
    plain = make_task()
    plain.resume_from(path)
    with pytest.raises(InputError, match="displacement_weight"):
        make_trainer(folder="b").fit(plain, datamodule=Clusters(), ckpt_path=path)


def test_what_displacements_need(make_task, make_trainer):
    class Unrelaxed(Clusters):
        def load_splits(self):
            train, val, test = super().load_splits()
            del train[3].pos_relaxed
            return train, val, test

    with pytest.raises(InputError, match=r"c3 .*'pos_relaxed'.*displacement_weight"):
        make_trainer().fit(make_task(displacement_weight=1.0), datamodule=Unrelaxed())
    with pytest.raises(UsageError, match="needs an encoder with vector features"):
        DisplacementTerm(encoder(vector_width=0), "l1", 1.0, "linear")
    with pytest.raises(UsageError, match="displacement_weight must not be negative"):
        DisplacementTerm(encoder(), "l1", -1.0, "linear")
