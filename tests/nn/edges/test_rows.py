"""Edges sorted by receiver: a list, compiled or by torch."""

import pytest
import torch

from molflt.nn.edges.rows import Edges, sorted_rows


@pytest.mark.parametrize("kernels", ["0", "1"])
def test_rows_hold_both_directions_of_every_pair(kernels, monkeypatch):
    monkeypatch.setenv("MOLFLT_KERNELS", kernels)
    first, second = torch.randint(5, (2, 40))  # atoms 5 and 6 have no neighbours
    rows = sorted_rows(first, second, 7)
    expected = [[] for _ in range(7)]
    for pair, (i, j) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
        expected[i].append((j, 2 * pair))
        expected[j].append((i, 2 * pair + 1))
    start = rows.start.tolist()
    for atom, edges in enumerate(expected):
        own = slice(start[atom], start[atom + 1])
        found = zip(rows.sender[own].tolist(), rows.half[own].tolist(), strict=True)
        assert list(found) == edges


def test_blocks_cover_rows_once(monkeypatch):
    monkeypatch.setattr("molflt.nn.edges.rows.TORCH_EDGES", 5)
    first = torch.tensor([0] * 9 + [1, 3])
    rows = sorted_rows(first, torch.full_like(first, 4), 6)
    edges = Edges(rows, torch.zeros(len(first), 3), torch.zeros(2, 3, 1), 1.0)
    blocks = list(edges.blocks(0, 6))
    assert [b for _, b in blocks[:-1]] == [a for a, _ in blocks[1:]]
    assert (blocks[0][0], blocks[-1][1]) == (0, 6)
    assert all(a < b for a, b in blocks)
    assert list(edges.blocks(2, 2)) == []
