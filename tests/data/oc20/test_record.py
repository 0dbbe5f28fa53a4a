import pickle

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch, Data

from molflt.data.oc20.batch import read_batch
from molflt.errors import InputError
from tests.data.ocp_files import FIELDS, pyg1, pyg2, read, slab_fields


def assert_equal(got, fields):
    for name, value in got.items():
        expected = fields[name]
        if isinstance(expected, torch.Tensor):
            expected = expected.numpy()
            assert value.dtype == expected.dtype, name
        np.testing.assert_array_equal(value, expected, err_msg=name)


@pytest.mark.parametrize("layout", [pyg1, pyg2])
def test_both_layouts_give_their_fields(layout):
    fields = slab_fields()
    got = read(layout(fields), [*FIELDS, "sid", "x", "absent"])
    assert set(got) == {*FIELDS, "sid"}
    assert_equal(got, fields)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "dtype",
    ["float32", "float64", "float16", "int64", "int32", "uint8", "int8", "bool"],
)
def test_tensors_of_every_type_and_protocol(protocol, dtype):
    tensor = torch.arange(24).reshape(2, 3, 4).to(getattr(torch, dtype))
    views = {
        "a": tensor,
        "b": tensor.transpose(0, 2),
        "c": tensor[:, 1:, ::2],
        "d": tensor[1, 2, 3],
        "e": tensor[:0],
    }
    got = read(pickle.dumps(Data(**views), protocol=protocol), views)
    assert set(got) == set(views)
    assert_equal(got, views)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_numpy_values_are_read(protocol):
    fields = {
        "a": np.arange(6.0).reshape(2, 3),
        "b": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "c": np.arange(4, dtype=">f8"),
        "d": np.float64(0.1),
        "e": np.int32(7),
        "f": np.array([True, False]),
    }
    got = read(pickle.dumps(Data(**fields), protocol=protocol), fields)
    assert set(got) == set(fields)
    for name, value in fields.items():
        np.testing.assert_array_equal(got[name], value, err_msg=name)


def test_a_collated_batch_is_taken_apart(tmp_path):
    graphs = [slab_fields(seed) for seed in range(3)]
    batch = Batch.from_data_list([Data(**fields) for fields in graphs])
    torch.save(batch, tmp_path / "batch.pt")
    records = read_batch(tmp_path / "batch.pt", [*FIELDS, "sid"])
    assert len(records) == 3
    for record, fields in zip(records, graphs, strict=True):
        assert record.pop("y_relaxed") == pytest.approx(fields["y_relaxed"], rel=1e-6)
        assert_equal(record, fields)


def test_files_that_are_no_batch(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_batch(tmp_path / "no.pt", FIELDS)
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(InputError, match=r"text\.pt is no file of torch.save"):
        read_batch(tmp_path / "text.pt", FIELDS)
    torch.save({"a": torch.ones(3)}, tmp_path / "dict.pt")
    with pytest.raises(InputError, match="no graph"):
        read_batch(tmp_path / "dict.pt", FIELDS)
    torch.save(Data(pos=torch.ones(2, 3)), tmp_path / "one.pt")
    with pytest.raises(InputError, match="no graph"):
        read_batch(tmp_path / "one.pt", ["pos"])


# ---- what must not run -------------------------------------------------------------
