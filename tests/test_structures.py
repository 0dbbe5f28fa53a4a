"""Graphs made by hand are predicted, or refused by what is wrong with them."""

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from molflt.checkpoint import load
from molflt.errors import InputError
from molflt.structures import predict_graphs


def graph(numbers, **more):
    pos = torch.arange(3.0 * len(numbers), dtype=torch.float64).reshape(-1, 3)
    return Data(z=torch.tensor(numbers), pos=pos, **more)


@pytest.fixture(scope="module")
def model():
    return load("emt-forces")


@pytest.mark.parametrize("sid", [5, np.int64(5), torch.tensor(5), "", "a"])
def test_an_id_of_any_kind_is_only_a_name(model, sid):
    named, nameless = ([graph([29, 8], **more)] for more in ({"sid": sid}, {}))
    expected = predict_graphs(model, nameless)["energy"]
    assert expected[0] != 0
    np.testing.assert_array_equal(predict_graphs(model, named)["energy"], expected)


@pytest.mark.parametrize("number", [200, 119, -1])
def test_what_is_no_atomic_number_is_refused_as_that(model, number):
    with pytest.raises(InputError, match=f"{number}.* 1 to 118"):
        predict_graphs(model, [graph([29, number], sid=3)])
