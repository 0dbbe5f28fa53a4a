import pytest
import pytorch_lightning as pl
import torch

from molflt.commands.messages import quiet
from molflt.model import FLTEncoder
from molflt.training.callbacks import EMA
from molflt.training.checkpoint_io import AtomicCheckpointIO
from molflt.training.task import FLTTask


@pytest.fixture
def make_task():
    def make(density_elements="", **options) -> FLTTask:
        torch.manual_seed(0)
        encoder = FLTEncoder(
            **{"width": 16, "num_layers": 1, "num_near_heads": 2, "num_far_heads": 1},
            **{"density_elements": density_elements, "density_components": 20},
        )
        return FLTTask(encoder, **{"lr": 3e-3, "warmup_steps": 3} | options)

    return make


@pytest.fixture
def make_trainer(tmp_path):
    def make(*callbacks, max_epochs=4, folder="a", **options) -> pl.Trainer:
        quiet()
        last = pl.callbacks.ModelCheckpoint(
            tmp_path / folder,
            "last",
            enable_version_counter=False,
            save_on_exception=True,
        )
        options = {
            "accelerator": "cpu",
            "logger": False,
            "num_sanity_val_steps": 0,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "gradient_clip_val": 10.0,
        } | options
        return pl.Trainer(
            max_epochs=max_epochs,
            callbacks=[EMA(0.9), *callbacks, last],
            plugins=[AtomicCheckpointIO()],
            **options,
        )

    return make
