import numpy as np
import pytest
import torch

from molflt.analysis import feature_errors, path_errors
from molflt.errors import UsageError
from molflt.testing import log_slope

from .conftest import build_model, molecule_graph, slab_graph


@pytest.mark.parametrize("make", [molecule_graph, slab_graph])
def test_linear_paths_are_the_dense_ones(make):
    for layer, errors in enumerate(path_errors(build_model(), make())):
        assert errors.layer == layer
        assert errors.scalars < 1e-3
        assert errors.vectors < 1e-3
    near = path_errors(build_model(num_far_heads=0), make())
    assert max(error.scalars for error in near) < 1e-12


def test_a_wrong_path_shows():
    model, graph = build_model(vector_width=0), molecule_graph()
    for layer in model.encoder.layers:
        near = layer.attention.heads.near
        for name in ("_linear", "_sums"):  # of torch's operations, and compiled
            right = getattr(near, name)
            wrong = lambda x, vec, geometry, run=right: tuple(  # noqa: E731
                None if part is None else 1.5 * part for part in run(x, vec, geometry)
            )
            setattr(near, name, wrong)
    first = path_errors(model, graph)[0]
    assert first.scalars > 0.05
    assert first.vectors is None


def test_error_of_features_falls_as_theory_says():
    """-1/2 in log-log, where logits are small and f too small to limit it."""
    model = build_model(form="additive", num_layers=1, num_near_heads=0)
    heads = model.encoder.layers[0].attention.heads
    with torch.no_grad():
        heads.rpe.spectrum.coefficients.mul_(0.01)
        heads.project.weight.mul_(0.3)
    sizes = (32, 128, 512)
    (errors,) = feature_errors(model, molecule_graph(), sizes, 4, num_draws=200)
    assert errors.errors.shape == (3, 200)
    np.testing.assert_array_equal(errors.num_features, sizes)
    rms = np.sqrt((errors.errors**2).mean(1))
    assert -0.6 < log_slope(sizes, rms) < -0.4


def test_features_of_a_favor_model_are_compared_with_its_softmax():
    exact = build_model(form="additive")
    favor = build_model(form="additive", estimator="favor")
    favor.load_state_dict(exact.state_dict(), strict=False)
    one, two = (
        feature_errors(model, molecule_graph(), [64], 32, num_draws=2)[0].errors
        for model in (exact, favor)
    )
    np.testing.assert_allclose(one, two)


def test_what_has_no_such_error():
    with pytest.raises(UsageError, match="feature_errors"):
        path_errors(build_model(form="additive"), molecule_graph())
    with pytest.raises(UsageError, match="path_errors"):
        feature_errors(build_model(), molecule_graph())
    with pytest.raises(UsageError, match="no periodic images"):
        feature_errors(build_model(form="additive"), slab_graph())
