import pytest
import torch
from torch.utils.data import DistributedSampler
from torchmetrics.utilities import dim_zero_cat

from molflt.data.batching import collate
from molflt.training.metrics import Evaluation
from tests.training.clusters import Clusters, cluster

NAME = ("val", "energy/mae_eV")


class Frames(Clusters):
    """A split of seven frames of one molecule, with its name for all of them."""

    def load_splits(self):
        frames = [cluster(300 + index) for index in range(7)]
        for frame in frames:
            frame.sid = "molecule"
        return super().load_splits()[0], {"val": frames}, {}


def evaluated(task, data, indices):
    """Return what one process has of the frames that it is dealt."""
    (loader,) = data.val_dataloader()
    task._evaluation = Evaluation()
    task._evaluate(collate([loader.dataset[index] for index in indices]), "val")
    return task._evaluation._metrics[NAME]


def test_frames_that_share_an_id_count_in_several_processes(make_task, make_trainer):
    task, data = make_task(), Frames()
    make_trainer(max_epochs=1).fit(task, datamodule=data)
    alone = evaluated(task, data, range(7))
    parts = [
        evaluated(task, data, DistributedSampler(range(7), 2, rank, shuffle=False))
        for rank in range(2)  # one frame comes twice, as both get four
    ]
    gathered = evaluated(task, data, [0])
    for state in ("ids", "errors", "counts"):
        both = [dim_zero_cat(getattr(part, state)) for part in parts]
        setattr(gathered, state, [torch.cat(both)])
    assert alone.compute()["count"] == gathered.compute()["count"] == 7
    assert gathered.compute()["mae"] == pytest.approx(alone.compute()["mae"])
