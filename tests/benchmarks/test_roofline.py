"""What is counted, and that it is what runs."""

import near_paths
import pytest
import roofline
import torch

from molflt.encoder import FLTEncoder


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    options = {"num_layers": 1, "num_near_heads": 4, "num_far_heads": 0}
    return FLTEncoder(width=16, vector_width=8, **options).requires_grad_(False)


def test_the_roofline_is_the_lower_of_peak_and_bandwidth():
    machine = roofline.Machine(peak=100.0, bandwidth=10.0)
    assert machine.seconds(roofline.Work(400.0, 1.0)) == pytest.approx(4.0)
    assert machine.seconds(roofline.Work(4.0, 40.0)) == pytest.approx(4.0)


def test_products_are_counted_and_can_be_repeated():
    left, right = torch.rand(3, 5), torch.rand(5, 7)
    with roofline.Products() as products:
        left @ right
        torch.rand(4, 3, 5) @ torch.rand(4, 5, 2)
        torch.nn.functional.linear(left, right.T, torch.rand(7))
        left * 2
    assert products.operations == 2 * (3 * 5 * 7 + 4 * 3 * 5 * 2 + 3 * 5 * 7)
    shapes = [tuple(run().shape) for run in products.again]
    assert shapes == [(3, 7), (4, 3, 2), (3, 7)]


def test_counts_of_atoms_are_those_of_the_products_that_run(encoder):
    """On the streamed path, all but the radial table are linear maps of atoms."""
    (layer,) = encoder.layers
    counted = []
    for atoms in (60, 150):
        geometry = encoder.geometry(near_paths.graphs(1, atoms))
        x, vec = roofline.features(encoder, geometry)
        with roofline.streamed(), roofline.Products() as products:
            layer(x, vec, geometry, "linear")
        counted.append(products.operations)
    work = roofline.atom_work(layer, 16, 8).times(150 - 60)
    assert work.operations == pytest.approx(counted[1] - counted[0], rel=1e-6)


def test_shares_are_measured(encoder, monkeypatch):
    monkeypatch.setattr(roofline, "REPEATS", 1)
    (layer,) = encoder.layers
    row = roofline.dense(encoder, layer, 2, 12)
    assert 0 < row["share"] < 1
    machine = roofline.Machine(1e11, 1e10)
    row = roofline.against(machine, roofline.linear(encoder, layer, 60))
    assert row["edge_sums_ms"] < row["layer_ms"]
    assert row["roofline_edges_ms"] < row["roofline_ms"]
