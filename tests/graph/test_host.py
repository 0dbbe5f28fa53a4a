"""Sizes and directions of a batch as the host knows them."""

import pytest
import torch

from molflt.errors import InputError
from molflt.graph.host import FARTHEST, extent_of, fetched, layout_of, segment_count


def test_values_come_back_as_they_were():
    tensors = (
        torch.tensor([[1, 2], [3, 2**53 - 1]]),
        torch.tensor([True, False]),
        torch.tensor(0.1, dtype=torch.float32),
        torch.zeros(0, 3),
    )
    values = fetched(*tensors)
    for found, tensor in zip(values, tensors, strict=True):
        assert found == tensor.flatten().tolist()


def test_layout_of_graphs():
    batch = torch.tensor([0, 0, 2, 2, 2])  # graph 1 has no atoms
    pbc = torch.tensor([[True, True, False], [False] * 3, [True] * 3])
    layout = layout_of(batch, 3, pbc, torch.tensor(2.5))
    assert layout.sizes == [2, 0, 3]
    assert layout.directions == pbc.tolist()
    assert layout.is_periodic
    assert layout.extent == 2.5


def test_layout_of_open_graphs_and_of_none():
    layout = layout_of(torch.zeros(4, dtype=torch.int64), 1, None)
    assert layout == ([4], [[False] * 3], float("inf"))
    assert not layout.is_periodic
    assert layout_of(torch.zeros(0, dtype=torch.int64), 0, None).sizes == []


def test_atoms_of_a_graph_must_be_next_to_each_other():
    for batch in ([0, 1, 0], [1, 0, 0]):
        with pytest.raises(ValueError, match="batch must be ascending"):
            layout_of(torch.tensor(batch), 2, None)


def test_counts_are_those_of_bincount():
    index = torch.randint(0, 7, (100,))
    assert torch.equal(segment_count(index, 9), torch.bincount(index, minlength=9))


def test_the_extent_is_that_of_the_largest_graph():
    places = [[1e9, 0, 0], [1e9 + 2, 0, 0], [5, 5, 5]]
    pos = torch.tensor(places, dtype=torch.float64)
    batch = torch.tensor([0, 0, 2])  # graph 1 has no atoms
    assert extent_of(pos, batch, 3) == 1.0
    assert extent_of(torch.zeros(0, 3), batch[:0], 1) == 0.0
    pos[2, 1] = torch.nan
    assert extent_of(pos, batch, 3).isnan()


@pytest.mark.parametrize("extent", [float("nan"), float("inf"), FARTHEST])
def test_extents_without_end_are_refused(extent):
    batch = torch.zeros(4, dtype=torch.int64)
    with pytest.raises(InputError, match="Positions must be finite"):
        layout_of(batch, 1, None, torch.tensor(extent))
    layout_of(batch, 1, None, torch.tensor(0.9 * FARTHEST))
