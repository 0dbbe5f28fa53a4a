import logging

import numpy as np
import pytest

from molflt.data.dataset import GraphList
from molflt.data.molecule import make_graph
from tests.training.clusters import Clusters, cluster


def with_element(seed, number):
    graph = cluster(seed)
    z = np.where(np.arange(len(graph.z)) == 0, number, graph.z.numpy())
    labels = {"energy": float(graph.energy), "spread": 0.0}
    return make_graph(z, graph.pos.numpy(), sid=graph.sid, targets=labels)


class Rare(Clusters):
    """`Clusters` whose second validation set has sulphur and chlorine."""

    def load_splits(self):
        train, val, test = super().load_splits()
        strange = [cluster(302), with_element(300, 16), with_element(301, 17)]
        return train, val | {"val_far": GraphList(strange)}, test


@pytest.fixture
def told(make_task, make_trainer, caplog):
    def tell(data, **options):
        with caplog.at_level(logging.WARNING, "molflt"):
            make_trainer(max_epochs=3, **options).fit(make_task(), datamodule=data)
        return [r.message for r in caplog.records if "no training" in r.message]

    return tell


@pytest.mark.parametrize("steps", [0, 1])  # 1: the known one alone
def test_elements_that_were_not_trained_on_are_told_once(steps, told):
    data = Rare(batch_size=2, eval_batch_size=1)
    assert told(data, num_sanity_val_steps=steps) == [
        "val_far: 2 of 3 structures have elements that no training structure has "
        "(S, Cl): their errors count, though predictions refuse them."
    ]


def test_known_elements_are_no_word_worth(told):
    assert told(Clusters()) == []
