import base64

import numpy as np
import pytest

from molflt.analysis import attention_rows, message_attribution
from molflt.report.rows import TOP, keep_rows
from tests.analysis.conftest import build_model, molecule_graph, slab_graph


def rebuilt(rows, n):
    """The rounded rows as full arrays (c, m, n)."""
    values = rows.level / 127.0 * rows.scale[..., None]
    if rows.index is None:
        return values
    out = np.zeros((*rows.scale.shape, n))
    np.put_along_axis(out, rows.index.astype(np.int64), values, axis=2)
    return out


@pytest.mark.parametrize("form", ["masked", "additive"])
def test_all_rows_are_kept_and_rounded(form):
    model, graph = build_model(form=form), molecule_graph()
    n = len(graph.z)
    rows = keep_rows(model, graph, "energy", np.arange(n)[::-1])
    assert rows.index is None
    assert rows.signed == (form == "masked")
    np.testing.assert_array_equal(rows.atoms, np.arange(n))
    assert rows.smallest_kept > 0.99
    expected = []
    exact = zip(
        attention_rows(model, graph, np.arange(n)),
        message_attribution(model, graph, np.arange(n)),
        strict=True,
    )
    for weights, effects in exact:
        expected += [*weights.weights, effects.effects.sum(axis=0)]
    kinds = [channel["kind"] for channel in rows.channels]
    assert kinds == 2 * [*(["weight"] * 8), "effect"]
    got = rebuilt(rows, n)
    for one, two in zip(got, expected, strict=True):
        step = np.abs(two).max(axis=1, keepdims=True) / 127
        assert (np.abs(one - two) <= 0.51 * step + 1e-9).all()


def test_the_largest_weights_of_the_first_atoms_are_kept(monkeypatch):
    monkeypatch.setattr("molflt.report.rows.TOP", 2)
    model, graph = build_model(), slab_graph()
    n = len(graph.z)
    budget = 18 * 2 * 3 * 4  # four atoms: channels, weights, bytes
    rows = keep_rows(model, graph, "energy", np.array([5, 4, 2, 0, 1, 3]), budget)
    np.testing.assert_array_equal(rows.atoms, [0, 2, 4, 5])
    assert rows.level.shape == (18, 4, 2)
    whole = attention_rows(model, graph, rows.atoms)[1].weights[2]
    got = rebuilt(rows, n)[9 + 2]
    for kept, row, total in zip(got, whole, rows.total[9 + 2], strict=True):
        largest = np.sort(np.argsort(-np.abs(row))[:2])
        assert set(np.flatnonzero(kept)) <= set(largest)
        np.testing.assert_allclose(total, np.abs(row).sum(), rtol=1e-6)
    assert 0.2 < rows.smallest_kept < 0.99


def test_plain_values_are_those_arrays():
    rows = keep_rows(build_model(), slab_graph(), "energy", np.arange(6))
    plain = rows.plain()
    level = np.frombuffer(base64.b64decode(plain["level"]), np.int8)
    np.testing.assert_array_equal(level.reshape(rows.level.shape), rows.level)
    assert plain["index"] is None
    assert len(rows.atoms) < TOP
