import json

import pytest
import torch

import molflt
from molflt.provenance import origin_words, target_words
from tests.training.clusters import Clusters
from tests.training.interruption import Stop


@pytest.fixture
def trained(make_task, make_trainer, tmp_path):
    """A run of two epochs: its trainer, and the folder of its checkpoints."""
    trainer = make_trainer(max_epochs=2)
    trainer.fit(make_task(), datamodule=Clusters())
    return trainer, tmp_path / "a"


def test_a_checkpoint_knows_its_data_steps_versions_and_errors(trained):
    trainer, folder = trained
    data = Clusters()
    data.setup()
    origin = molflt.load(folder / "last.ckpt").origin
    assert origin["data"] == "Clusters"
    assert origin["versions"]["torch"] == torch.__version__
    assert origin["training"]["structures"] == len(data.train)
    assert origin["training"]["steps"] == trainer.global_step
    assert origin["training"]["epochs"] == 2
    for name, value in origin["errors"].items():
        assert value == pytest.approx(float(trainer.callback_metrics[name]))
    assert set(origin["errors"]) == {
        f"{split}/energy/{metric}"
        for split in ("val_near", "val_far")
        for metric in ("mae_eV", "ewt_percent")
    }
    assert json.loads(json.dumps(origin)) == origin  # plain values
    assert "trained on Clusters" in origin_words(origin)


def test_the_trained_model_has_the_origin_of_its_checkpoint(trained):
    """Also where no checkpoint is written; what is evaluated later changes nothing."""
    trainer, folder = trained
    task = trainer.lightning_module
    origin = dict(task.model.origin)
    assert origin == molflt.load(folder / "last.ckpt").origin
    trainer.limit_val_batches = 1
    trainer.validate(task, Clusters(), verbose=False)
    trainer.save_checkpoint(folder / "again.ckpt")
    assert molflt.load(folder / "again.ckpt").origin == origin


def test_other_weights_in_the_model_have_their_own_origin(trained):
    trainer, folder = trained
    task = trainer.lightning_module
    other = {"data": "elsewhere", "training": {"steps": 3}}
    content = torch.load(folder / "last.ckpt", weights_only=True)
    content["molflt"]["origin"] = other
    torch.save(content, folder / "other.ckpt")
    trainer.validate(task, Clusters(), ckpt_path=folder / "other.ckpt", verbose=False)
    assert task.model.origin == other


def test_a_fit_without_a_step_and_an_interrupted_one_note_no_errors(
    make_task, make_trainer, tmp_path
):
    task = make_task()
    make_trainer(max_epochs=1, limit_train_batches=0).fit(task, datamodule=Clusters())
    assert task.model.origin == {}
    task, trainer = make_task(), make_trainer(Stop(3), folder="b")
    with pytest.raises(RuntimeError, match="stopped"):
        trainer.fit(task, datamodule=Clusters())
    trainer.validate(task, Clusters(), verbose=False)
    trainer.save_checkpoint(tmp_path / "stopped.ckpt")
    assert "errors" not in molflt.load(tmp_path / "stopped.ckpt").origin


def test_errors_of_other_weights_are_not_kept(make_task, make_trainer, tmp_path):
    trainer = make_trainer(max_epochs=1, limit_val_batches=0)
    trainer.fit(make_task(), datamodule=Clusters())
    assert "errors" not in molflt.load(tmp_path / "a" / "last.ckpt").origin


def test_errors_of_many_targets_are_told_one_by_one():
    names = [f"{split}/t{k}" for k in range(7) for split in ("val", "val_mmff")]
    errors = {f"{name}/mae_eV": 0.1 * k for k, name in enumerate(names)}
    errors |= {f"{name}/ewt_percent": 3.0 for name in names}
    origin = {"name": "mine", "errors": errors}
    assert origin_words(origin) == "mine"
    assert target_words(origin, "t1") == "MAE 0.2 on val, 0.3 on val_mmff"
    assert target_words(origin, "t") == ""


def test_words_begin_with_the_run_itself():
    before = {"name": "old.ckpt", "data": "many", "commit": "0123456789abcdef"}
    origin = {"name": "mine", "data": "few.xyz", "errors": {"val/energy/mae_eV": 0.1}}
    assert origin_words(before) == "old.ckpt, trained on many, commit 0123456789"
    assert origin_words({"started_from": before}) == (
        "started from old.ckpt, trained on many, commit 0123456789"
    )
    assert origin_words(origin | {"started_from": before}) == (
        "mine, trained on few.xyz, energy/mae_eV 0.1, "
        "started from old.ckpt, trained on many, commit 0123456789"
    )
