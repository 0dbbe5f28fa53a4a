"""Labels that are missing: nothing is learned of them, and everything of the others."""

import copy

import pytest
import torch

from molflt.data.batching import collate
from molflt.data.dataset import GraphList
from molflt.data.molecule import with_missing
from molflt.data.statistics import fit_all_statistics, fit_statistics
from molflt.errors import InputError
from molflt.training.fitting import starting_model
from molflt.training.losses import LOSSES, multi_target_loss
from molflt.training.metrics import AbsoluteErrors, label_errors
from molflt.training.objective import MEAN_ERROR, Objective
from tests.builders import small_encoder
from tests.training.clusters import Clusters, cluster


class Partly(Clusters):
    """Clusters of two targets, some without the second and few without the first."""

    def __init__(self, **options):
        super().__init__(num_targets=2, **options)

    def load_splits(self):
        train, val, test = super().load_splits()
        val = {name: lacking(part) for name, part in val.items()}
        return lacking(train), val, {name: lacking(p) for name, p in test.items()}


def lacking(graphs):
    found = []
    for index, graph in enumerate(graphs):
        missing = ["spread"] * (index % 2) or ["energy"] * (index % 6 == 0)
        found.append(with_missing(copy.copy(graph), missing))
    return GraphList(found)


def test_statistics_are_those_of_the_labelled():
    data = Partly()
    data.setup()
    found = fit_all_statistics(data.train, data.targets)
    for spec, statistics in zip(data.targets, found, strict=True):
        known = [g for g in data.train if not g[spec.name].isnan()]
        expected = fit_statistics(GraphList(known), spec)
        assert 5 < len(known) == statistics.num_structures < len(data.train)
        assert statistics.mean == pytest.approx(expected.mean)
        assert statistics.std == pytest.approx(expected.std)
        assert statistics.target_min == expected.target_min
        assert statistics.elements == expected.elements
        assert statistics.element_reference == pytest.approx(expected.element_reference)


def test_a_target_without_any_label_is_refused():
    graphs = [with_missing(cluster(seed), ["spread"]) for seed in range(3)]
    _, spread = Clusters(num_targets=2).targets
    with pytest.raises(InputError, match="No structure has a label 'spread'"):
        fit_statistics(GraphList(graphs), spread)


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_is_the_mean_over_the_labelled(name):
    generator = torch.Generator().manual_seed(0)
    label = torch.randn(6, dtype=torch.float64, generator=generator)
    whole = torch.randn(6, dtype=torch.float64, generator=generator).requires_grad_()
    known = torch.tensor([True, False, True, True, False, True])
    partly = multi_target_loss(name, {"a": whole}, {"a": label.where(known, torch.nan)})
    expected = multi_target_loss(name, {"a": whole[known]}, {"a": label[known]})
    torch.testing.assert_close(partly, expected)
    (found,) = torch.autograd.grad(partly, whole, retain_graph=True)
    (slope,) = torch.autograd.grad(expected, whole)
    torch.testing.assert_close(found, slope)
    none = multi_target_loss(
        name, {"a": whole}, {"a": torch.full_like(label, torch.nan)}
    )
    assert none.item() == 0
    assert not torch.autograd.grad(none, whole)[0].any()


def test_errors_are_those_of_the_labelled():
    labels = torch.tensor([1.0, torch.nan, 3.0, 4.0], dtype=torch.float64)
    predictions = torch.tensor([1.01, 9.0, 3.0, 4.5], dtype=torch.float64)
    metric = AbsoluteErrors(threshold=0.02)
    for rows in (slice(0, 2), slice(2, 4)):
        values, counts = label_errors(predictions[rows], labels[rows])
        metric.update(values, [f"{rows.start}a", f"{rows.start}b"], counts)
    found = metric.compute()
    assert found["mae"].item() == pytest.approx(0.51 / 3)
    assert found["ewt_percent"].item() == pytest.approx(200 / 3)
    # A prediction that is no number is no missing label.
    broken = label_errors(predictions * torch.nan, labels)
    metric.update(broken.values, list("abcd"), broken.counts)
    assert metric.compute()["mae"].isnan()


def test_the_objective_sees_what_each_structure_has():
    data = Partly()
    data.setup()
    model = starting_model(small_encoder(), data.targets, data.train)
    objective = Objective(model.encoder)
    batch = collate([data.train[index] for index in range(8)])
    loss, errors = objective(model, batch, 0.0)
    predicted = model(batch)
    sizes = []
    for spec in model.targets:
        known = ~batch[spec.name].isnan()
        size = (predicted[spec.name] - batch[spec.name])[known].abs()
        sizes.append(size / model.readout(spec.name).std)
        name = next(name for name in errors if name.startswith(f"{spec.name}/"))
        assert errors[name].mean().item() == pytest.approx(size.mean().item(), 1e-5)
    mean = torch.cat(sizes).mean().item()
    assert errors[MEAN_ERROR].mean().item() == pytest.approx(mean, rel=1e-5)
    loss.backward()
    assert all(
        p.grad.isfinite().all() for p in model.parameters() if p.grad is not None
    )


def test_a_run_learns_from_what_there_is(make_task, make_trainer, caplog):
    trainer = make_trainer(max_epochs=30)
    with caplog.at_level("WARNING"):
        trainer.fit(make_task(), datamodule=Partly())
    assert "spread: 10 of 20 training structures have no label" in caplog.text
    found = trainer.callback_metrics
    for name in ("energy/mae_eV", "spread/mae_A", MEAN_ERROR):
        assert found[f"val_near/{name}"].isfinite()
    assert found["train/loss"] < 1.5


def test_what_a_split_has_no_labels_of_has_no_error(make_task, make_trainer):
    class Never(Partly):
        def load_splits(self):
            train, val, test = super().load_splits()
            bare = [with_missing(copy.copy(g), ["spread"]) for g in val["val_near"]]
            return train, {"val_near": GraphList(bare)}, test

    trainer = make_trainer(max_epochs=1)
    trainer.fit(make_task(), datamodule=Never())
    names = {name for name in trainer.callback_metrics if name.startswith("val_")}
    errors = {"energy/mae_eV", "energy/ewt_percent", MEAN_ERROR}
    assert names == {f"val_near/{name}" for name in errors}


def test_missing_labels_are_on_the_cpu():
    with torch.device("meta"):
        graph = with_missing(cluster(0), ["other"])
    assert graph.other.device.type == "cpu"
