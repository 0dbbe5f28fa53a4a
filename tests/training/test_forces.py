"""Training on forces and stress: what is minimised, logged, and refused."""

import numpy as np
import pytest
import torch
from ase.build import bulk
from torch_geometric.data import Batch

from molflt.checkpoint import load
from molflt.data.dataset import GraphList
from molflt.data.molecule import atoms_to_graph
from molflt.errors import InputError, UsageError
from molflt.model import FLTEncoder, FLTModel
from molflt.targets import TargetSpec
from molflt.training.objective import Objective
from tests.training.clusters import Clusters, cluster
from tests.training.interruption import Stop, same, weights

FORCES = "energy/force_mae_eV_per_A"
ELL = {
    "l1": lambda e: e,
    "mse": lambda e: e**2,
    "huber": lambda e: torch.where(e < 1, e**2 / 2, e - 0.5),
}


def crystal(seed):
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.2, seed=seed)
    graph = atoms_to_graph(atoms, sid=f"x{seed}", targets={"energy": float(seed)})
    rng = np.random.default_rng(seed)
    graph.forces = torch.from_numpy(rng.normal(size=(4, 3)))
    graph.stress = torch.from_numpy(rng.normal(scale=0.02, size=(1, 3, 3)))
    graph.stress = graph.stress + graph.stress.transpose(1, 2)
    graph.fixed[: seed % 3] = True
    return graph


def small_model():
    encoder = FLTEncoder(width=8, num_layers=1, num_near_heads=2, num_far_heads=0)
    model = FLTModel(encoder, [TargetSpec("energy")]).double()
    statistics = {"element_reference": {29: -3.0}, "mean": 0.0, "std": 0.5}
    model.set_statistics("energy", statistics)
    return model


@pytest.mark.parametrize("loss", ELL)
def test_what_is_minimised(loss):
    model = small_model()
    batch = Batch.from_data_list([crystal(seed) for seed in range(3)])
    objective = Objective(model.encoder, loss, force_weight=3.0, stress_weight=7.0)
    found = objective(model, batch, progress=0.0)
    out = model.energy_and_forces(batch, stress=True)
    ell, std = ELL[loss], 0.5
    free = ~batch.fixed
    assert 0 < free.sum() < len(free)
    energy = out.energy - batch.energy
    force = torch.linalg.vector_norm(out.forces - batch.forces, dim=1)[free]
    volume = torch.linalg.det(batch.cell)
    stress = torch.linalg.vector_norm(out.stress - batch.stress, dim=(1, 2))
    expected = (
        ell(energy.abs() / std).mean()
        + 3.0 * ell(force / std).mean()
        + 7.0 * ell(volume * stress / std).mean()
    )
    torch.testing.assert_close(found.loss, expected)
    means = {name: float(error.mean()) for name, error in found.errors.items()}
    assert means == pytest.approx(
        {
            "energy/mae_eV": float(energy.abs().mean()),
            FORCES: float((out.forces - batch.forces)[free].abs().mean()),
            "energy/stress_mae_eV_per_A3": float(
                (out.stress - batch.stress).abs().mean()
            ),
        }
    )


def test_the_loss_of_forces_reaches_the_weights():
    model = small_model()
    batch = Batch.from_data_list([crystal(seed) for seed in range(3)])
    weight = model.encoder.embedding.filter.weight
    parts = []
    for force_weight in (0.0, 1.0):
        objective = Objective(model.encoder, "mse", force_weight)
        loss = objective(model, batch, progress=0.0).loss
        (gradient,) = torch.autograd.grad(loss, weight)
        parts.append(gradient)
    learned = parts[1] - parts[0]

    def forces_loss(step):
        with torch.no_grad():
            weight.add_(step * learned)
            error = model.energy_and_forces(batch).forces - batch.forces
            weight.sub_(step * learned)
        return float(error[~batch.fixed].square().sum(1).mean()) / 0.5**2

    step = 1e-5 / float(learned.norm())
    slope = (forces_loss(step) - forces_loss(-step)) / (2 * step)
    assert slope == pytest.approx(float(learned.square().sum()), rel=1e-5)


def test_forces_are_learned_logged_and_validated(make_task, make_trainer, tmp_path):
    data = Clusters()
    before = make_task(force_weight=1.0)
    make_trainer(max_epochs=1, limit_train_batches=1).fit(before, datamodule=data)
    task = make_task(force_weight=1.0)
    trainer = make_trainer(max_epochs=25)
    trainer.fit(task, datamodule=data)
    model = load(tmp_path / "a" / "last.ckpt")
    for split in ("val_near", "val_far"):
        graphs = [data.val[split][i] for i in range(len(data.val[split]))]
        error = [model.energy_and_forces(g).forces - g.forces for g in graphs]
        mae = float(torch.cat(error).abs().mean())
        logged = float(trainer.callback_metrics[f"{split}/{FORCES}"])
        assert logged == pytest.approx(mae, rel=1e-4)
    assert f"train/{FORCES}" in trainer.callback_metrics

    def error_of(model):
        graphs = [data.train[i] for i in range(20)]
        error = [model.energy_and_forces(g).forces - g.forces for g in graphs]
        return float(torch.cat(error).abs().mean())

    assert error_of(task.model) < 0.6 * error_of(before.model)


@pytest.mark.parametrize("at_validation", [False, True])
def test_resumed_run_equals_uninterrupted_run(
    at_validation, make_task, make_trainer, tmp_path
):
    options = {"force_weight": 0.5, "displacement_weight": 1.0}
    whole = make_task(**options)
    make_trainer(folder="whole").fit(whole, datamodule=Clusters())
    with pytest.raises(RuntimeError, match="stopped"):
        make_trainer(Stop(10, at_validation)).fit(
            make_task(**options), datamodule=Clusters()
        )
    resumed, path = make_task(**options), tmp_path / "a" / "last.ckpt"
    resumed.resume_from(path)
    make_trainer(folder="b").fit(resumed, datamodule=Clusters(), ckpt_path=path)
    assert same(weights(resumed), weights(whole))


class Bare(Clusters):
    """One structure, of one split, has no forces."""

    def __init__(self, split):
        super().__init__()
        self.split = split

    def load_splits(self):
        train, val, test = super().load_splits()
        graphs = [cluster(seed) for seed in range(40, 44)]
        del graphs[2 if self.split == "train" else 0].forces
        if self.split == "train":
            return GraphList(graphs), val, test
        return train, {"val": GraphList(graphs[:1])}, test


@pytest.mark.parametrize(("split", "sid"), [("train", "c42"), ("val", "c40")])
def test_a_structure_without_forces_is_named(split, sid, make_task, make_trainer):
    with pytest.raises(InputError, match=f"Record {sid} has no label 'forces'"):
        make_trainer().fit(make_task(force_weight=1.0), datamodule=Bare(split))


def test_what_has_no_forces_is_refused(make_task, make_trainer):
    task = make_task(targets=["spread"], force_weight=1.0)
    with pytest.raises(UsageError, match="are for one potential energy"):
        make_trainer().fit(task, datamodule=Clusters(num_targets=2))
    for option in ("force_weight", "stress_weight"):
        with pytest.raises(UsageError, match=f"{option} must not be negative"):
            make_task(**{option: -1.0})
