import math

import pytest
import torch
from torch_geometric.data import Batch

from molflt.training.metrics import (
    AbsoluteErrors,
    Errors,
    Evaluation,
    atom_errors,
)
from tests.training.clusters import cluster


def test_values_do_not_depend_on_batching():
    errors = torch.randn(101, generator=torch.Generator().manual_seed(0)).double() / 20
    ids = [f"s{i}" for i in range(101)]
    whole, parts = AbsoluteErrors(), AbsoluteErrors()
    whole.update(errors, ids)
    for start in range(0, 101, 7):
        parts.update(errors[start : start + 7], ids[start : start + 7])
    expected = errors.abs().mean().item()
    assert whole.compute()["mae"].item() == pytest.approx(expected, rel=1e-14)
    assert parts.compute()["mae"].item() == pytest.approx(expected, rel=1e-14)
    share = 100 * (errors.abs() < 0.02).double().mean().item()
    assert parts.compute()["ewt_percent"].item() == pytest.approx(share)


def test_threshold_is_strict():
    metric = AbsoluteErrors()
    below = math.nextafter(0.02, 0)
    metric.update(torch.tensor([0.02, -0.02, below, -below]).double(), list("abcd"))
    # float64 through: a float32 0.02 would be off by 4e-10 on either side.
    metric.reset()
    metric.update(torch.tensor([0.02, -below], dtype=torch.float64), ["a", "b"])
    assert metric.compute()["ewt_percent"] == 50.0


def test_repeated_ids_count_once():
    metric = AbsoluteErrors()
    metric.update(torch.tensor([1.0, 2.0]), ["a", "b"])
    metric.update(torch.tensor([1.0]), ["a"])
    assert metric.compute()["mae"] == 1.5


def test_merging_processes_drops_the_sampler_s_padding():
    # What two processes gather: the second repeats a record to fill its last batch.
    first, second = AbsoluteErrors(), AbsoluteErrors()
    first.update(torch.tensor([1.0, 2.0]), ["a", "b"])
    second.update(torch.tensor([6.0, 1.0]), ["c", "a"])
    gathered = {
        name: [torch.cat(getattr(metric, name)) for metric in (first, second)]
        for name in ("ids", "errors", "counts")
    }
    merged = AbsoluteErrors()
    for name, values in gathered.items():
        setattr(merged, name, values)
    merged._update_count = 1
    assert merged.compute()["mae"] == 3.0


def test_structures_that_share_an_id_all_count():
    """Frames of one molecule, say: no sampler gives one process a record twice."""
    evaluation = Evaluation()
    for errors, ids in (([1.0, 2.0], ["a", "b"]), ([6.0, 9.0], ["a", "a"])):
        found = {"energy/mae_eV": Errors(torch.tensor(errors))}
        evaluation.add("val", found, ids)
        evaluation.add("test", found, ids)
    assert evaluation.values()["val/energy/mae_eV"] == 4.5
    evaluation.clear()
    evaluation.add("val", found, ids)
    assert evaluation.values()["val/energy/mae_eV"] == 7.5


def test_components_weigh_the_same_whatever_the_structure():
    # Two atoms with errors 1 and 3 are one structure, an atom with error 8 another.
    metric = AbsoluteErrors()
    metric.update(torch.tensor([2.0, 8.0]), ["a", "b"], torch.tensor([6.0, 3.0]))
    metric.update(torch.tensor([8.0]), ["b"], torch.tensor([3.0]))
    assert metric.compute()["mae"] == (6 * 2.0 + 3 * 8.0) / 9


def test_errors_of_atoms_leave_out_the_held_ones():
    batch = Batch.from_data_list([cluster(0), cluster(1)])
    error = torch.arange(3.0 * len(batch.z)).view(-1, 3) - 10
    kept = torch.rand(len(batch.z)) < 0.5
    kept[batch.batch == 1] = False  # a structure that is held altogether
    kept[0] = True
    values, counts = atom_errors(error, batch, kept)
    assert counts.tolist() == [3 * int(kept.sum()), 0]
    torch.testing.assert_close(values[0], error[kept].abs().mean())
    assert values[1] == 0
    assert atom_errors(error, batch, kept).mean() == values[0]


def test_no_data_is_nan_and_reset_forgets():
    metric = AbsoluteErrors()
    metric.update(torch.tensor([1.0]), ["a"])
    metric.reset()
    metric.update(torch.zeros(0), [])
    assert metric.compute()["mae"].isnan()
