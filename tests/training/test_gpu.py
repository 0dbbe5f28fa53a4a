"""Training on a GPU, and going on without it."""

import pytest
import torch

from molflt.data import EMTIS2RE


@pytest.mark.gpu
def test_a_run_goes_on_without_the_gpu(make_task, make_trainer, tmp_path):
    data = EMTIS2RE(batch_size=16)
    trainer = make_trainer(accelerator="gpu", devices=1, max_steps=8, max_epochs=-1)
    trainer.fit(make_task(), data)
    assert torch.isfinite(trainer.callback_metrics["train/loss"])
    trainer = make_trainer(max_steps=12, max_epochs=-1)
    trainer.fit(make_task(), data, ckpt_path=tmp_path / "a" / "last.ckpt")
    assert trainer.global_step == 12
