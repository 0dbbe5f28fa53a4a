"""Nearest images against all images of a wide range, slowly."""

import itertools

import numpy as np
import pytest

from molflt.analysis.images import nearest, reduced_cell

STEPS = np.array(list(itertools.product(range(-15, 16), repeat=3)))
CELLS = {
    "skewed": [[3.0, 0.0, 0.0], [7.0, 4.0, 0.0], [-4.0, 6.0, 5.0]],
    "thin": [[2.8, 0.0, 0.0], [8.4, 14.5, 0.0], [0.0, 0.0, 20.0]],
    "leaning": [[5.0, 0.0, 0.0], [2.5, 4.3, 0.0], [9.0, 7.0, 12.0]],
}


def images(cell, pbc):
    """All lattice vectors of a wide range (k, 3)."""
    return STEPS[(STEPS[:, ~np.array(pbc)] == 0).all(axis=1)] @ np.array(cell)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize(
    "pbc", [(True, True, True), (True, True, False), (False, True, False)]
)
def test_the_shortest_of_all_images_is_found(cell, pbc):
    apart = np.random.default_rng(0).uniform(-6, 6, (40, 3))
    shifts = images(cell, pbc)
    every = apart[:, None] + shifts
    found = nearest(apart, cell, pbc)
    lengths = np.linalg.norm(every, axis=2)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), lengths.min(axis=1))
    # It is one of the images.
    assert np.linalg.norm(every - found[:, None], axis=2).min(axis=1).max() < 1e-9


def test_a_reduced_cell_has_the_same_images():
    cell = CELLS["skewed"]
    reduced = reduced_cell(cell, True)
    steps = reduced @ np.linalg.inv(cell)
    np.testing.assert_allclose(steps, steps.round(), atol=1e-9)
    assert abs(np.linalg.det(steps)) == pytest.approx(1)
    assert np.linalg.norm(reduced, axis=1).max() < np.linalg.norm(cell, axis=1).max()


def test_open_directions_are_across_the_periodic_ones():
    flat = reduced_cell(
        [[2.46, 0, 0], [-1.23, 2.13, 0], [0, 0, 0]], (True, True, False)
    )
    np.testing.assert_allclose(flat[2], [0, 0, 1])
    leaning = reduced_cell(CELLS["leaning"], (True, True, False))
    np.testing.assert_allclose(leaning[:2] @ leaning[2], 0, atol=1e-12)
