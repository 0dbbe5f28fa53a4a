"""Thin and wide systems, in whose grid of cells vesin ends the process."""

import numpy as np
import pytest
import torch

from molflt.graph.cell_grid import search_radius
from molflt.graph.neighbors import neighbor_pairs


@pytest.mark.parametrize("length", [930.0, 960.0, 1400.0])
@pytest.mark.parametrize("pbc", ["FFF", "TTF", "TTT", "TFF"])
def test_pairs_of_a_sheet(length, pbc):
    """A square net of 6 Å, cut at `length`: pairs are through the periodic faces."""
    along = np.arange(0, length, 6.0)
    x, y = (axis.ravel() for axis in np.meshgrid(along, along))
    pos = torch.tensor(np.stack([x, y, np.zeros_like(x)], axis=1))
    gap = length - along[-1]
    flags = torch.tensor([[letter == "T" for letter in pbc]])
    cell = torch.diag(torch.tensor([length, length, 2.5], dtype=torch.float64))[None]
    one = torch.zeros(len(pos), dtype=torch.int64)
    pairs = neighbor_pairs(pos, one, 1, 3.0, cell, flags)
    through = len(along) * sum(gap < 3.0 for flag in flags[0, :2] if flag)
    corners = 2 * (pbc[:2] == "TT" and gap * np.sqrt(2) < 3.0)
    images = len(pos) * (pbc[2] == "T")
    if pbc == "TTT" and gap < 3.0:  # the images of those through a face
        slanted = np.hypot(gap, 2.5) < 3.0
        through *= 1 + 2 * slanted
        corners *= 1 + 2 * (np.hypot(gap * np.sqrt(2), 2.5) < 3.0)
    assert len(pairs.first) == through + corners + images


def test_other_systems_are_searched_to_the_cutoff():
    rng = np.random.default_rng(0)
    for size in ([10, 10, 10], [300, 300, 300], [1000, 30, 30], [300, 300, 5]):
        points = rng.random((50, 3)) * size
        for directions in ([False] * 3, [True] * 3):
            box = np.diag(size).astype(float)
            assert search_radius(points, box, directions, 5.0) == 5.0


def test_no_grid_is_looked_for_without_places():
    for points, side in (([[np.nan] * 3], 10.0), ([[0.0, np.inf, 0]], 10.0)):
        with pytest.raises(ValueError, match="finite"):
            search_radius(np.array(points), np.eye(3) * side, [False] * 3, 5.0)
    with pytest.raises(ValueError, match="finite"):
        search_radius(np.zeros((1, 3)), np.eye(3) * np.nan, [True] * 3, 5.0)
