import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from molflt.analysis import model_plots, species_map
from molflt.errors import UsageError

from .conftest import build_model


def test_components_of_known_embeddings():
    """Points on a line, with a little across it."""
    model = build_model()
    z = [1, 6, 7, 8]
    along, across = torch.zeros(16), torch.zeros(16)
    along[3], across[5] = 2.0, 1.0
    with torch.no_grad():
        table = model.encoder.embedding.species.weight
        for number, (a, b) in zip(
            z, [(0, 0), (1, 0.1), (2, -0.1), (3, 0)], strict=True
        ):
            table[number] = a * along + b * across
    got = species_map(model, z)
    np.testing.assert_array_equal(got.z, z)
    line = got.places[:, 0] * np.sign(got.places[-1, 0])
    np.testing.assert_allclose(line, [-3, -1, 1, 3], atol=0.05)
    assert got.explained[0] > 0.99
    np.testing.assert_allclose(got.explained.sum(), 1)


def test_elements_of_the_training_set_are_taken():
    model = build_model()
    with pytest.raises(UsageError, match="at least two elements"):
        species_map(model)
    statistics = {"element_reference": {}, "mean": 0.0, "std": 1.0}
    model.set_statistics("energy", {**statistics, "elements": [8, 29, 6]})
    got = species_map(model)
    np.testing.assert_array_equal(got.z, [6, 8, 29])
    assert got.places.shape == (3, 2)
    np.testing.assert_allclose(got.explained.sum(), 1)  # three points lie in a plane
    with pytest.raises(UsageError, match="of 3 elements, at most 2, not 3"):
        species_map(model, num_components=3)
    with pytest.raises(UsageError, match="from 1 to 118"):
        species_map(model, [0, 1])
    with pytest.raises(UsageError, match=r"atomic numbers, received \['Cu', 'O'\]"):
        species_map(model, ["Cu", "O"])


def test_two_elements_stand_on_a_line():
    got = species_map(build_model(), [1, 8])
    assert got.places.shape == (2, 1)
    np.testing.assert_allclose(got.explained, [1.0])
    figure = Figure()
    ax = model_plots.species(figure.subplots(), got.z, got.places, got.explained)
    figure.draw_without_rendering()
    assert "100 %" in ax.get_xlabel()
    assert "(0 %)" in ax.get_ylabel()
    drawn = ax.get_lines()[0].get_xydata()
    np.testing.assert_allclose(drawn, np.pad(got.places, ((0, 0), (0, 1))))
