import numpy as np
import pytest

from molflt.analysis import far_errors
from molflt.errors import UsageError

from .conftest import build_model, molecule_graph

TOLERANCES = (1e-1, 1e-3, 1e-5, 1e-7)


def test_more_frequencies_leave_less_error(graph):
    """The trapezoid rule of a smooth spectrum: exponentially less."""
    for layer, found in enumerate(far_errors(build_model(), graph, TOLERANCES)):
        assert found.layer == layer
        np.testing.assert_array_equal(found.tolerances, TOLERANCES)
        assert (np.diff(found.num_frequencies) > 0).all()
        for errors in (found.scalars, found.vectors):
            assert (np.diff(errors) < 0).all()
            assert errors[-1] < 1e-5 * errors[0]
            # far faster than the -1/2 of random frequencies
            steps = np.log(errors[-1] / errors[0])
            assert (
                steps / np.log(found.num_frequencies[-1] / found.num_frequencies[0])
                < -3
            )


def test_errors_keep_the_promise(graph):
    for found in far_errors(build_model(), graph, TOLERANCES):
        assert (found.scalars < found.promised).all()
        np.testing.assert_allclose(
            found.promised / found.tolerances, found.promised[0] / TOLERANCES[0]
        )


def test_the_model_is_left_as_it_was():
    model, graph = build_model(far_tolerance=1e-3), molecule_graph()
    before = far_errors(model, graph, [1e-2])[0].scalars
    heads = [layer.attention.heads.far for layer in model.encoder.layers]
    assert {far.tolerance for far in heads} == {1e-3}
    # Its own tolerance plays no part; the number of frequencies is that of the sums.
    other = build_model(far_tolerance=1e-6)
    np.testing.assert_array_equal(far_errors(other, graph, [1e-2])[0].scalars, before)


def test_a_band_that_is_too_small_shows():
    model, graph = build_model(), molecule_graph()
    good = far_errors(model, graph, [1e-5])[0].scalars[0]
    shells = model.encoder.layers[0].attention.heads.far.mixture.shells
    support = shells.support

    def half_the_band(tolerance):
        band, reach = support(tolerance)
        return band / 2, reach

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            type(shells), "support", lambda _, tolerance, **__: half_the_band(tolerance)
        )
        bad = far_errors(model, graph, [1e-5])[0]
    assert bad.scalars[0] > 1e3 * good
    assert bad.scalars[0] > bad.promised[0]


def test_models_without_such_sums():
    graph = molecule_graph()
    for options in ({"form": "additive"}, {"num_far_heads": 0}):
        with pytest.raises(UsageError, match="with far heads"):
            far_errors(build_model(**options), graph)
    with pytest.raises(ValueError, match="between 1e-12 and 0.1"):
        far_errors(build_model(), graph, [0.5])
    scalar = far_errors(build_model(vector_width=0), graph, [1e-3])[0]
    assert scalar.vectors is None
