"""Training on a GPU: what is waited for at each step, and going on without the GPU."""

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.accelerators import CPUAccelerator
from pytorch_lightning.strategies import SingleDeviceStrategy

from molflt.data import EMTIS2RE
from molflt.model import FLTEncoder
from molflt.training import progress_bar
from molflt.training.callbacks import EMA
from molflt.training.progress_bar import MetricsBar
from molflt.training.task import FLTTask
from tests.pretend_gpu import DEVICE, PretendGPU


@pytest.mark.gpu
def test_a_run_goes_on_without_the_gpu(make_task, make_trainer, tmp_path):
    data = EMTIS2RE(batch_size=16)
    trainer = make_trainer(accelerator="gpu", devices=1, max_steps=8, max_epochs=-1)
    trainer.fit(make_task(), data)
    assert torch.isfinite(trainer.callback_metrics["train/loss"])
    trainer = make_trainer(max_steps=12, max_epochs=-1)
    trainer.fit(make_task(), data, ckpt_path=tmp_path / "a" / "last.ckpt")
    assert trainer.global_step == 12


class Pretended(CPUAccelerator):
    """Lightning's way to a device that is none of its own."""

    def setup_device(self, device):
        assert device == DEVICE


class Waits(pl.Callback):
    """What was waited for in each step."""

    def __init__(self, gpu):
        self.gpu, self.steps = gpu, []

    def on_train_batch_end(self, *_):
        self.steps.append(list(self.gpu.waits))
        self.gpu.waits.clear()


def make_surface_task(interaction_energy):
    encoder = FLTEncoder(
        width=16,
        num_layers=1,
        num_near_heads=2,
        num_far_heads=0,
        vector_width=8,
        skip_subsurface=True,
    )
    options = {"displacement_weight": 1.0, "position_noise": 0.05}
    options["position_interpolation"] = 0.5
    name = "interaction_energy" if interaction_energy else "tag_weighted_readout"
    return FLTTask(encoder, warmup_steps=2, **{name: True}, **options)


def train(task, steps, strategy=None, callbacks=()):
    trainer = pl.Trainer(
        max_steps=steps,
        strategy=strategy or "auto",
        accelerator="cpu" if strategy is None else "auto",
        limit_val_batches=0,
        logger=False,
        callbacks=[EMA(0.9), *callbacks],
        enable_progress_bar=bool(callbacks),
        enable_checkpointing=False,
        enable_model_summary=False,
        gradient_clip_val=10.0,
    )
    trainer.fit(task, EMTIS2RE(batch_size=8))


@pytest.mark.parametrize("interaction_energy", [False, True])
def test_a_step_waits_for_little_and_is_the_same(interaction_energy, monkeypatch):
    """Sub-surface atoms, sizes, places for the neighbour list, elements; adsorbates."""
    steps = 4
    monkeypatch.setattr(progress_bar, "GPU_SECONDS", 1e6)
    torch.manual_seed(0)
    plain = make_surface_task(interaction_energy)
    train(plain, steps)
    expected = {k: v.clone() for k, v in plain.state_dict().items()}
    with PretendGPU() as gpu:
        waits = Waits(gpu)
        torch.manual_seed(0)
        task = make_surface_task(interaction_energy)
        strategy = SingleDeviceStrategy(device=DEVICE, accelerator=Pretended())
        train(task, steps, strategy, [MetricsBar(), waits])
        found = {k: v.cpu() for k, v in task.state_dict().items()}
    for step in waits.steps[1:]:  # the bar asks after the first
        assert len(step) == 4 + interaction_energy, step
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
