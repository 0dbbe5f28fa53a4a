"""Checkpoints that are written can be read: NumPy's numbers, and what is refused."""

import datetime

import numpy as np
import pytest
import torch

from molflt.checkpoint import load, save_model, write
from molflt.errors import UsageError
from molflt.model import FLTEncoder, FLTModel
from molflt.plain_values import plain, refuse_unwritable
from molflt.targets import TargetSpec


def model_of(**options):
    encoder = FLTEncoder(num_layers=1, near_components=4, **options)
    return FLTModel(encoder, [TargetSpec("energy", kind="relaxed")]).eval()


def test_numbers_of_numpy_are_as_good_as_pythons(tmp_path):
    model = model_of(width=16, cutoff=np.float64(4.5))
    statistics = {
        "element_reference": {np.int64(8): np.float64(-2.5)},
        "mean": np.float32(0.5),
        "std": np.float64(2.0),
    }
    model.set_statistics("energy", statistics)
    save_model(model, tmp_path / "a.ckpt", origin={"mae": np.float64(0.25)})
    again = load(tmp_path / "a.ckpt")
    assert again.encoder.config == model.encoder.config
    assert again.statistics["energy"] == statistics
    assert again.origin == {"mae": 0.25}
    for name, value in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=0, atol=0)


def test_numbers_are_found_wherever_they_are():
    found = plain({np.str_("a"): [(np.bool_(True), np.float32(0.5))], "b": None})
    assert found == {"a": [(True, 0.5)], "b": None}
    (key, _), ((flag, number),) = found, found["a"]
    assert [type(value) for value in (key, flag, number)] == [str, bool, float]


def test_what_cannot_be_read_is_not_written(tmp_path):
    path = tmp_path / "a.ckpt"
    model = model_of(width=16)
    save_model(model, path)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"no more \(it would have datetime\.date\)"):
        save_model(model, path, origin={"day": datetime.date(2024, 1, 1)})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_pickled_is_one_sentence(tmp_path):
    with pytest.raises(UsageError, match="checkpoint can hold numbers, text, tensors"):
        write({"origin": {"loss": lambda x: x}}, tmp_path / "a.ckpt")


class Activated(FLTEncoder):
    def __init__(self, activation=None, **options):
        super().__init__(**options)
        self.config["activation"] = activation


def test_an_option_that_is_no_plain_value_is_told_before_training():
    with pytest.raises(UsageError, match=r"torch\.nn\.modules\.activation\.SiLU"):
        refuse_unwritable(Activated(torch.nn.SiLU(), width=16, num_layers=1).config)
