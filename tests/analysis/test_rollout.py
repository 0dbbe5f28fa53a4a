import numpy as np
import pytest

from molflt.analysis import attention_rollout, attention_rows
from molflt.errors import UsageError

from .conftest import build_model, molecule_graph, slab_graph


@pytest.mark.parametrize("estimator", ["softmax", "favor"])
def test_rollout_is_the_product_of_the_matrices(estimator):
    model = build_model(form="additive", estimator=estimator, num_layers=3)
    graph = molecule_graph()
    n = len(graph.z)
    product = np.eye(n)
    for rows in attention_rows(model, graph, np.arange(n)):
        product = (rows.weights.mean(axis=0) + np.eye(n)) / 2 @ product
    for block in (2, 256):
        got = attention_rollout(model, graph, [4, 0], block)
        np.testing.assert_allclose(got, product[[4, 0]], rtol=1e-10)
    np.testing.assert_allclose(got.sum(axis=1), 1)
    assert (got >= 0).all()


def test_atoms_that_are_left_out_stay_by_themselves():
    model = build_model(form="additive", skip_subsurface=True, num_layers=3)
    graph = slab_graph()
    n, hidden = len(graph.z), (graph.tags == 0).numpy()
    assert 0 < hidden.sum() < n
    got = attention_rollout(model, graph, range(n))
    np.testing.assert_allclose(got.sum(axis=1), 1)
    np.testing.assert_array_equal(got[hidden], np.eye(n)[hidden])
    assert not got[~hidden][:, hidden].any()


def test_masked_attention_has_no_rollout():
    with pytest.raises(UsageError, match="form 'additive'"):
        attention_rollout(build_model(), molecule_graph(), [0])
