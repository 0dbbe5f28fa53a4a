import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from molflt.checkpoint import load
from molflt.data.dataset import GraphList
from molflt.density import fit_density
from molflt.errors import InputError, MolfltError, UsageError
from molflt.model import FLTEncoder
from molflt.nn.readout.base import AtomReadout
from molflt.targets import TargetSpec
from molflt.training.targets import chosen_targets
from molflt.training.task import FLTTask
from tests.training.clusters import Clusters, cluster
from tests.training.interruption import Stop, same, weights


class Seen(pl.Callback):
    def __init__(self):
        self.ids = []

    def on_train_batch_start(self, trainer, module, batch, index):
        self.ids.append(list(batch.sid))


def test_training_learns_and_logs_physical_units(make_task, make_trainer):
    task, trainer = make_task(), make_trainer(max_epochs=40)
    data = Clusters()
    trainer.fit(task, datamodule=data)
    names = {name for name in trainer.callback_metrics if "/" in name}
    assert names == {
        "train/loss",
        "train/energy/mae_eV",
        *(
            f"{split}/energy/{metric}"
            for split in ("val_near", "val_far")
            for metric in ("mae_eV", "ewt_percent")
        ),
    }
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.0
    data.setup()
    baseline = task.model.statistics["energy"]["rmse"]
    graphs = [data.train[i] for i in range(20)]
    errors = [float(task.model(g)["energy"].detach() - g.energy) for g in graphs]
    assert sum(map(abs, errors)) / 20 < 0.5 * baseline


def test_logged_error_is_the_error_of_the_averaged_model(
    make_task, make_trainer, tmp_path
):
    task, trainer = make_task(), make_trainer(max_epochs=2)
    data = Clusters()
    trainer.fit(task, datamodule=data)
    model = load(tmp_path / "a" / "last.ckpt")
    split = data.val["val_far"]
    errors = [
        float(model(split[i])["energy"].detach() - split[i].energy) for i in range(7)
    ]
    mae = sum(map(abs, errors)) / 7
    logged = float(trainer.callback_metrics["val_far/energy/mae_eV"])
    assert logged == pytest.approx(mae, rel=1e-5)
    content = torch.load(tmp_path / "a" / "last.ckpt", weights_only=True)
    record, trained = content["molflt"]["state"], content["current_model_state"]
    moved = [
        name
        for name, value in record.items()
        if not torch.equal(value, trained[f"model.{name}"])
    ]
    assert "encoder.norm.weight" in moved
    # Constants are constants, averaged or not.
    constants = (".reference", ".mean", ".std")
    assert [name for name in record if name.endswith(constants)]
    assert not [name for name in moved if name.endswith(constants)]


def test_a_learning_rate_of_numpy_leaves_readable_checkpoints(
    make_task, make_trainer, tmp_path
):
    task = make_task(lr=np.logspace(-4, -2, 3)[1])
    trainer = make_trainer(max_epochs=1)
    trainer.fit(task, datamodule=Clusters())
    trainer.save_checkpoint(tmp_path / "end.ckpt")
    content = torch.load(tmp_path / "end.ckpt", weights_only=True)
    (optimizer,) = content["optimizer_states"]
    assert type(optimizer["param_groups"][0]["initial_lr"]) is float
    assert load(tmp_path / "end.ckpt").num_parameters == task.model.num_parameters


def test_two_targets_in_their_units(make_task, make_trainer):
    task, trainer = make_task(loss="huber"), make_trainer(max_epochs=1)
    trainer.fit(task, datamodule=Clusters(num_targets=2))
    assert "val_near/spread/mae_A" in trainer.callback_metrics
    assert "val_near/spread/ewt_percent" not in trainer.callback_metrics
    (tested,) = trainer.test(task, datamodule=Clusters(2), verbose=False)
    assert tested.keys() == {
        "test_near/energy/mae_eV",
        "test_near/energy/ewt_percent",
        "test_near/spread/mae_A",
        "test_near/all/mae_std",
    }
    std = {name: float(task.model.readout(name).std) for name in ("energy", "spread")}
    assert std["energy"] != std["spread"]
    mean = (
        tested["test_near/energy/mae_eV"] / std["energy"]
        + tested["test_near/spread/mae_A"] / std["spread"]
    ) / 2
    assert tested["test_near/all/mae_std"] == pytest.approx(mean, rel=1e-6)


def test_lightning_predicts(make_task, make_trainer):
    task, data = make_task(), Clusters()
    trainer = make_trainer(max_epochs=1)
    trainer.fit(task, data)
    parts = trainer.predict(task, data)
    predicted = torch.cat([part["energy"] for part in parts])
    expected = [task.model(batch)["energy"] for batch in data.test_dataloader()[0]]
    assert len(predicted) == len(data.test["test_near"]) > 0
    torch.testing.assert_close(predicted, torch.cat(expected))


def test_a_subset_of_targets(make_task, make_trainer):
    task = make_task(targets=["spread"])
    make_trainer(max_epochs=1).fit(task, datamodule=Clusters(num_targets=2))
    assert [spec.name for spec in task.model.targets] == ["spread"]
    with pytest.raises(UsageError, match=r"nothing.* has energy, spread"):
        make_trainer().fit(make_task(targets=["nothing"]), datamodule=Clusters(2))


def test_the_weights_of_targets_are_those_of_their_losses(make_task, make_trainer):
    """The first loss of the same weights and batch, target by target."""

    def first_loss(**options):
        trainer = make_trainer(max_steps=1, max_epochs=-1)
        trainer.fit(make_task(**options), datamodule=Clusters(num_targets=2))
        return float(trainer.callback_metrics["train/loss"])

    both = first_loss()
    energy = first_loss(target_weights={"spread": 0.0})
    weighted = first_loss(target_weights={"energy": 3.0, "spread": 0.5})
    assert weighted == pytest.approx(3.0 * energy + 0.5 * (both - energy), rel=1e-5)
    assert 0 < energy < both


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"energy": -1.0}, "finite and not negative, not -1 for energy"),
        ({"energy": float("nan")}, "finite and not negative, not nan for energy"),
        ({"energy": float("inf")}, "finite and not negative, not inf for energy"),
        ({"gap": 1.0}, "target gap in model.target_weights; learned are energy, spre"),
        ({"energy": 0.0, "spread": 0.0}, "above 0 for one of energy, spread"),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_weights_that_do_not_fit_the_targets_are_refused(
    weights, words, named, make_task, make_trainer
):
    """At once where the targets are named, otherwise when the data have told them."""
    targets = ["energy", "spread"] if named else None
    with pytest.raises(UsageError, match=words):  # noqa: PT012
        task = make_task(targets=targets, target_weights=weights)
        assert not named
        make_trainer().fit(task, datamodule=Clusters(num_targets=2))


def test_tag_weights_are_an_option(make_task, make_trainer, tmp_path):
    class Slabs(Clusters):
        def load_splits(self):
            splits = super().load_splits()
            for graph in splits[0]:
                graph.tags = torch.arange(len(graph.z)) % 3
            return splits

    task = make_task(tag_weighted_readout=True)
    make_trainer(max_epochs=1).fit(task, datamodule=Slabs(num_targets=2))
    model = load(tmp_path / "a" / "last.ckpt")
    assert [spec.readout for spec in model.targets] == ["tags", "tags"]
    weight = model.readout("energy").tag_weight.detach()
    assert weight[0] == 1  # no atom is without a tag: nothing to learn, no decay
    assert (weight[1:] != torch.tensor([0.0, 0.0, 1.0])).all()
    with pytest.raises(UsageError, match="needs a target that is a sum or mean"):
        chosen_targets(
            [TargetSpec("mu", "D", "property", "", False, readout="dipole")],
            None,
            tag_weighted_readout=True,
        )


@pytest.mark.parametrize("force_weight", [0.0, 1.0])
@pytest.mark.parametrize("elements", ["", "HO"])
def test_mixed_precision(elements, force_weight, make_task, make_trainer):
    """With clipped gradients, as in every shipped configuration."""
    task = make_task(elements, force_weight=force_weight)
    trainer = make_trainer(max_epochs=2, precision="bf16-mixed")
    trainer.fit(task, datamodule=Clusters())
    assert trainer.callback_metrics["val_far/energy/mae_eV"].isfinite()


def test_another_default_device_does_not_reach_the_model(
    make_task, make_trainer, monkeypatch
):
    """As on a GPU, where Lightning calls `configure_model` under its device."""
    configure = FLTTask.configure_model

    def elsewhere(task):
        with torch.device("meta"):
            configure(task)

    monkeypatch.setattr(FLTTask, "configure_model", elsewhere)
    task = make_task("HO")
    make_trainer(max_epochs=1).fit(task, datamodule=Clusters())
    assert {value.device.type for value in task.state_dict().values()} == {"cpu"}


def test_same_seed_same_weights(make_task, make_trainer):
    runs = []
    for seed in (0, 0, 1):
        task = make_task()
        make_trainer(max_epochs=2).fit(task, datamodule=Clusters(seed=seed))
        runs.append(weights(task))
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


@pytest.mark.parametrize(
    "stop",
    [Stop(10), Stop(13), Stop(10, at_validation=True)],
    ids=["end of epoch", "middle of epoch", "validation"],
)
@pytest.mark.parametrize("num_workers", [0, 1])
def test_resumed_run_equals_uninterrupted_run(
    stop, num_workers, make_task, make_trainer, tmp_path
):
    whole, seen_whole = make_task(), Seen()
    make_trainer(seen_whole, folder="whole").fit(whole, datamodule=Clusters())
    first = make_trainer(stop)
    with pytest.raises(RuntimeError, match="stopped"):
        first.fit(make_task(), datamodule=Clusters(num_workers=num_workers))
    resumed, seen = make_task(), Seen()
    path = tmp_path / "a" / "last.ckpt"
    resumed.resume_from(path)
    trainer = make_trainer(seen, folder="b")
    trainer.fit(resumed, datamodule=Clusters(num_workers=num_workers), ckpt_path=path)
    assert trainer.global_step == 20
    assert seen.ids == seen_whole.ids[stop.step :]
    assert same(weights(resumed), weights(whole))
    contents = [
        torch.load(tmp_path / run / "last.ckpt", weights_only=True)
        for run in ("whole", "b")
    ]
    assert same(contents[0]["molflt"]["state"], contents[1]["molflt"]["state"])
    assert same(contents[0]["current_model_state"], contents[1]["current_model_state"])


def test_density_features_are_fitted_once_to_the_training_set(
    make_task, make_trainer, tmp_path
):
    task = make_task("HO")
    make_trainer(max_epochs=1).fit(task, datamodule=Clusters())
    data = Clusters()
    data.setup()
    fitted = make_task("HO")._encoder[0]
    fit_density(fitted, data.train)
    projection = fitted.embedding.density.projection
    path = tmp_path / "a" / "last.ckpt"
    torch.testing.assert_close(
        load(path).encoder.embedding.density.projection, projection
    )
    resumed = make_task("HO")
    resumed.resume_from(path)
    make_trainer(max_epochs=2, folder="b").fit(
        resumed, datamodule=Clusters(), ckpt_path=path
    )
    after = resumed.model.encoder.embedding.density.projection
    torch.testing.assert_close(after, projection)


def test_what_an_encoder_brings_along_stays(make_task, make_trainer):
    """An encoder that was trained elsewhere is the start that it is taken for."""
    first = make_task("HO")
    make_trainer(max_epochs=1).fit(first, datamodule=Clusters())
    encoder = first.model.encoder.requires_grad_(False)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    other = Clusters()
    other.setup()
    for index in range(len(other.train)):
        other.train[index].pos *= 1.2
    task = FLTTask(encoder)
    make_trainer(max_epochs=1).fit(task, datamodule=other)
    assert same(before, task.model.encoder.state_dict())
    fresh = make_task("HO")._encoder[0]
    fit_density(fresh, other.train)  # it would have been another one
    assert not torch.equal(
        fresh.embedding.density.projection, before["embedding.density.projection"]
    )


def test_another_architecture_is_not_resumed(make_task, make_trainer, tmp_path):
    make_trainer(max_epochs=1).fit(make_task(), datamodule=Clusters())
    with pytest.raises(InputError, match="width 16 instead of 8"):
        FLTTask(FLTEncoder(width=8)).resume_from(tmp_path / "a" / "last.ckpt")
    for option in ("tag_weighted_readout", "interaction_energy"):
        task = make_task(**{option: True})
        with pytest.raises(InputError, match=f"{option} False instead of True"):
            task.resume_from(tmp_path / "a" / "last.ckpt")


def test_missing_label_names_the_record(make_task, make_trainer):
    class Unlabelled(Clusters):
        def load_splits(self):
            train, _, test = super().load_splits()
            bare = cluster(300)
            del bare.energy
            return train, {"val": GraphList([bare])}, test

    with pytest.raises(InputError, match="c300 has no label 'energy'"):
        make_trainer(max_epochs=1).fit(make_task(), datamodule=Unlabelled())


def test_labels_of_a_part_of_a_set_are_no_obstacle(make_task, make_trainer):
    """Energies are learned although only some structures have forces."""

    class Partly(Clusters):
        def load_splits(self):
            train, val, test = super().load_splits()
            for graph in list(train)[::3] + list(val["val_near"])[:1]:
                del graph.forces
            return train, val, test

    trainer = make_trainer(max_epochs=1)
    trainer.fit(make_task(), datamodule=Partly())
    assert "val_near/energy/mae_eV" in trainer.callback_metrics
    with pytest.raises(InputError, match="has no label 'forces'"):
        make_trainer(max_epochs=1).fit(make_task(force_weight=1.0), datamodule=Partly())


def test_a_loss_that_is_not_finite_stops_training(make_task, make_trainer):
    class Spoil(pl.Callback):
        def on_train_epoch_end(self, trainer, module):
            module.model.encoder.norm.weight.data.fill_(float("nan"))

    with pytest.raises(MolfltError, match="The loss is nan at step 5"):
        make_trainer(Spoil()).fit(make_task(), datamodule=Clusters())


def test_data_that_are_no_data_module_are_refused(make_task, make_trainer):
    data = Clusters()
    data.setup()
    trainer = make_trainer()
    data.trainer = trainer
    loaders = data.train_dataloader(), data.val_dataloader()
    with pytest.raises(UsageError, match=r"needs a molflt\.data\.GraphDataModule"):
        trainer.fit(make_task(), *loaders)


def test_a_task_is_not_loaded_from_a_checkpoint(make_task):
    for owner in (FLTTask, make_task()):
        with pytest.raises(UsageError, match=r"molflt\.load\(path\) returns the model"):
            owner.load_from_checkpoint("last.ckpt", map_location="cpu")


def test_weights_alone_are_not_trained_on(make_task, make_trainer, tmp_path):
    trainer = make_trainer(max_epochs=1)
    trainer.fit(make_task(), datamodule=Clusters())
    path = tmp_path / "weights.ckpt"
    trainer.save_checkpoint(path, weights_only=True)
    task = make_task()
    task.resume_from(path)
    with pytest.raises(InputError, match="without the state of its training"):
        make_trainer(folder="b").fit(task, datamodule=Clusters(), ckpt_path=path)


def test_evaluation_needs_a_model(make_task, make_trainer):
    with pytest.raises(UsageError, match="no trained model"):
        make_trainer().test(make_task(), datamodule=Clusters())


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("lr", 0.0, "lr must be above 0, not 0"),
        ("lr", -1e-3, "lr must be above 0, not -0.001"),
        ("warmup_steps", -1, "warmup_steps must not be negative, not -1"),
        ("weight_decay", -0.1, "weight_decay must not be negative, not -0.1"),
    ],
)
def test_options_that_would_train_uphill_are_refused(option, value, words):
    encoder = FLTEncoder(width=8, num_layers=1, num_near_heads=2)
    with pytest.raises(UsageError, match=words):
        FLTTask(encoder, **{option: value})


def test_a_task_predicts_as_its_model_does(make_task, make_trainer):
    task, graph = make_task(), cluster(0)
    with pytest.raises(UsageError, match=r"no model before trainer\.fit\(task, data\)"):
        task(graph)
    make_trainer(max_epochs=1).fit(task, datamodule=Clusters())
    assert torch.equal(task(graph)["energy"], task.model(graph)["energy"])


class OwnReadout(AtomReadout):
    """A readout of one's own."""


class OwnTask(FLTTask):
    """A task that puts it into the model."""

    def configure_model(self):
        had = self.model is not None
        super().configure_model()
        if not had:
            self.model.readouts["energy"] = OwnReadout(self.model.encoder.width, True)


def replaced():
    encoder = FLTEncoder(width=16, num_layers=1, num_near_heads=2, num_far_heads=0)
    encoder.layers[0].mlp[1] = torch.nn.GELU()
    return encoder


@pytest.mark.parametrize("own", ["part", "readout"])
def test_what_could_not_be_saved_is_not_trained(own, make_task, make_trainer):
    if own == "part":
        task, words = FLTTask(replaced()), r"layers\.0\.mlp\.1, which is GELU"
    else:
        task, words = (
            OwnTask(make_task()._encoder[0]),
            "cannot hold the readout OwnRead",
        )
    seen = Seen()
    with pytest.raises(UsageError, match=words):
        make_trainer(seen, max_epochs=1).fit(task, datamodule=Clusters())
    assert not seen.ids


def test_without_checkpoints_anything_is_trained(tmp_path):
    task, seen = FLTTask(replaced()), Seen()
    off = ("enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    options = dict.fromkeys((*off, "logger"), False) | {"num_sanity_val_steps": 0}
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", callbacks=[seen], **options)
    trainer.fit(task, datamodule=Clusters())
    assert len(seen.ids) == 5
    with pytest.raises(UsageError, match=r"layers\.0\.mlp\.1, which is GELU"):
        trainer.save_checkpoint(tmp_path / "own.ckpt")


def test_a_run_looks_once_at_what_can_be_saved(
    make_task, make_trainer, monkeypatch, tmp_path
):
    calls = []
    monkeypatch.setattr("molflt.training.task.refuse_unsaveable", calls.append)
    monkeypatch.setattr("molflt.checkpoint.refuse_unsaveable", calls.append)
    task = make_task()
    trainer = make_trainer(max_epochs=3)
    trainer.fit(task, datamodule=Clusters())
    assert calls == [task.model]
    trainer.save_checkpoint(tmp_path / "later.ckpt")
    assert calls == [task.model] * 2
