"""A frozen encoder keeps every bit, while readouts learn from its features."""

from pathlib import Path

import pytest
import torch
from torch_geometric.data import Batch

import molflt
from molflt.cli import main
from molflt.data.dataset import GraphList
from molflt.data.statistics import fit_statistics
from molflt.density import fit_density
from molflt.errors import InputError, UsageError
from molflt.gradients import deformable
from molflt.model import FLTEncoder, FLTModel
from molflt.nn.near import paths
from molflt.targets import TargetSpec
from molflt.training.pretrained import Pretrained
from molflt.training.task import FLTTask
from tests.builders import small_encoder
from tests.running import CONFIG
from tests.training.clusters import Clusters, cluster
from tests.training.interruption import Stop, same, weights

ENERGY = TargetSpec("energy", kind="potential")
DENSITY = {"density_elements": "HO", "density_components": 20}


@pytest.fixture
def checkpoint(tmp_path):
    """A model of clusters, with density features and tags that say something."""
    torch.manual_seed(1)
    encoder = FLTEncoder(
        **{"width": 16, "num_layers": 1, "num_near_heads": 2, "num_far_heads": 1},
        **DENSITY,
    )
    data = GraphList([cluster(seed) for seed in range(20)])
    fit_density(encoder, data)
    model = FLTModel(encoder, [ENERGY])
    model.set_statistics("energy", fit_statistics(data, ENERGY).plain())
    molflt.save_model(model, tmp_path / "old.ckpt")
    return tmp_path / "old.ckpt"


def tuning(path, freeze=True, **options):
    torch.manual_seed(0)
    encoder = Pretrained(path, new_targets=True, freeze_encoder=freeze)
    return FLTTask(encoder, lr=3e-3, weight_decay=0.5, warmup_steps=3, **options)


@pytest.mark.parametrize("force_weight", [0.0, 1.0])
def test_only_readouts_are_trained(checkpoint, force_weight, make_trainer, tmp_path):
    task, trainer = tuning(checkpoint, force_weight=force_weight), make_trainer()
    trainer.fit(task, datamodule=Clusters(num_targets=2))
    origin = molflt.load(checkpoint)
    content = torch.load(tmp_path / "a" / "last.ckpt", weights_only=True)
    kept = origin.encoder.state_dict()
    assert any("density" in name for name in kept)
    for state, prefix in (
        (task.state_dict(), "model."),
        (content["state_dict"], "model."),  # of the average
        (content["current_model_state"], "model."),
        (content["molflt"]["state"], ""),
    ):
        for name, value in kept.items():
            assert torch.equal(state[f"{prefix}encoder.{name}"], value), name
    for name, value in origin.readout("energy").named_parameters():
        assert not torch.equal(task.model.readout("energy").get_parameter(name), value)
    trained = [p for g in trainer.optimizers[0].param_groups for p in g["params"]]
    expected = [p for name in ("energy", "spread") for p in readout(task, name)]
    assert {id(p) for p in trained} == {id(p) for p in expected}


def readout(task, name):
    return task.model.readout(name).parameters()


def test_a_frozen_run_in_two_parts_is_the_whole_run(checkpoint, make_trainer, tmp_path):
    whole = tuning(checkpoint)
    make_trainer(folder="whole").fit(whole, datamodule=Clusters())
    with pytest.raises(RuntimeError, match="stopped"):
        make_trainer(Stop(13)).fit(tuning(checkpoint), datamodule=Clusters())
    last, resumed = tmp_path / "a" / "last.ckpt", tuning(checkpoint)
    resumed.resume_from(last)
    trainer = make_trainer(folder="b")
    trainer.fit(resumed, datamodule=Clusters(), ckpt_path=last)
    assert same(weights(resumed), weights(whole))
    assert not any(p.requires_grad for p in resumed.model.encoder.parameters())


@pytest.mark.parametrize("frozen", [True, False])
def test_a_run_stays_frozen_or_not(checkpoint, frozen, make_trainer, tmp_path):
    trainer = make_trainer(max_epochs=1)
    trainer.fit(tuning(checkpoint, frozen), datamodule=Clusters())
    last, other = tmp_path / "a" / "last.ckpt", tuning(checkpoint, not frozen)
    other.resume_from(last)
    with pytest.raises(InputError, match=r"parameters learned in it.*freeze_encoder"):
        make_trainer(folder="b").fit(other, datamodule=Clusters(), ckpt_path=last)


def test_an_element_that_is_new_to_a_frozen_encoder_is_refused(
    checkpoint, make_trainer
):
    origin = molflt.load(checkpoint)
    only = {**origin.statistics["energy"], "elements": [1]}
    origin.set_statistics("energy", only)
    molflt.save_model(origin, checkpoint)
    with pytest.raises(UsageError, match="not trained on O, .* features at random"):
        make_trainer().fit(tuning(checkpoint), datamodule=Clusters())
    free = make_trainer(max_epochs=1)
    free.fit(tuning(checkpoint, freeze=False), datamodule=Clusters())
    assert free.current_epoch == 1


def test_the_command_line_freezes_and_goes_on(checkpoint, monkeypatch, capsys):
    monkeypatch.chdir(checkpoint.parent)
    before, _, after = CONFIG.partition("  encoder:\n")
    chosen = "{class_path: molflt.training.pretrained.Pretrained}"
    rest = after.partition("  lr:")[2]
    Path("tune.yaml").write_text(f"{before}  encoder: {chosen}\n  lr:{rest}")
    option = "--model.encoder.init_args."
    words = ["fit", "--config=tune.yaml", f"{option}checkpoint=old.ckpt"]
    words += [f"{option}freeze_encoder=true", "--trainer.max_steps=7"]
    assert main(words) == 0, capsys.readouterr().err
    last = "runs/clusters/version_0/checkpoints/last.ckpt"
    words[-1] = "--trainer.max_steps=9"
    assert main([*words, f"--ckpt_path={last}"]) == 0, capsys.readouterr().err
    again = last.replace("version_0", "version_1")
    assert torch.load(again, weights_only=True)["global_step"] == 9
    origin, tuned = molflt.load(checkpoint), molflt.load(again)
    assert same(origin.encoder.state_dict(), tuned.encoder.state_dict())
    assert not same(*(m.readout("energy").state_dict() for m in (origin, tuned)))


def test_an_auxiliary_task_cannot_teach_a_frozen_encoder(checkpoint):
    with pytest.raises(UsageError, match="which freeze_encoder keeps as it is"):
        tuning(checkpoint, displacement_weight=1.0)


@pytest.mark.parametrize("path", ["dense", "linear", "streamed"])
@pytest.mark.parametrize("form", ["masked", "density", "additive"])
def test_what_forces_say_to_the_readout_does_not_depend_on_freezing(
    form, path, monkeypatch
):
    """The encoder is still differentiated by positions, twice."""
    options = {
        "masked": {"matrix_head_width": 2},
        "density": DENSITY,
        "additive": {"form": "additive", "num_far_heads": 2},
    }[form]
    if path == "streamed":
        monkeypatch.setattr(paths.COSTS, "stream_edges", 0)
    encoder = small_encoder(**options)
    graphs = GraphList([cluster(seed) for seed in range(20)])
    fit_density(encoder, graphs)
    model = FLTModel(encoder, [ENERGY]).double()
    kind = "dense" if path == "dense" else "linear"

    def gradients():
        batch = Batch.from_data_list(list(graphs))
        batch, deformation = deformable(batch, stress=False)
        energy = model.read(model.features(batch, kind))["energy"]
        forces, _ = deformation.derivatives(energy, create_graph=True)
        error = (forces - batch.forces).square().sum()
        readout = model.readout("energy").parameters()
        return forces, torch.autograd.grad(error, list(readout), allow_unused=True)

    forces, free = gradients()
    model.encoder.requires_grad_(False)
    again, frozen = gradients()
    torch.testing.assert_close(again, forces)
    assert any(g is not None and g.abs().max() > 0 for g in free)
    for one, other in zip(frozen, free, strict=True):
        if one is not None or other is not None:
            torch.testing.assert_close(one, other)
