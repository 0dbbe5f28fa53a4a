"""Encoders and readouts of other packages in checkpoints."""

import pytest
import torch

import molflt
from molflt.checkpoint import model_record
from molflt.errors import InputError, UsageError
from molflt.nn.readout.base import AtomReadout
from molflt.training.task import FLTTask
from tests.builders import energy_of, model_of, molecules


class Scaled(molflt.FLTEncoder):
    """An encoder of one's own."""

    def forward(self, *arguments, **options):
        x, vec = super().forward(*arguments, **options)
        return 3.0 * x, vec


class Doubled(AtomReadout):
    """A readout of one's own."""

    def per_atom(self, *arguments, **options):
        return 2.0 * super().per_atom(*arguments, **options)


def scaled_model():
    encoder = Scaled(width=16, num_layers=1, num_near_heads=2, num_far_heads=0)
    return molflt.FLTModel(encoder, model_of().targets).eval()


def test_an_encoder_of_ones_own_comes_back_to_who_has_it(tmp_path):
    model, path = scaled_model(), tmp_path / "scaled.ckpt"
    molflt.save_model(model, path)
    again = molflt.load(path, encoder_class=Scaled)
    assert type(again.encoder) is Scaled
    water = molecules()[1]
    assert torch.equal(energy_of(again)(water), energy_of(model)(water))
    with pytest.raises(InputError, match=r"class tests\.test_own_classes\.Scaled"):
        molflt.load(path)


def test_the_class_must_be_the_one_of_the_checkpoint(tmp_path):
    molflt.save_model(model_of(), tmp_path / "plain.ckpt")
    with pytest.raises(InputError, match=r"has an FLTEncoder, no tests\..*Scaled"):
        molflt.load(tmp_path / "plain.ckpt", encoder_class=Scaled)


def test_a_readout_of_ones_own_is_refused(tmp_path):
    model = model_of()
    model.readouts["energy"] = Doubled(model.encoder.width, True)
    with pytest.raises(UsageError, match="cannot hold the readout Doubled of 'energy'"):
        molflt.save_model(model, tmp_path / "own.ckpt")
    assert not list(tmp_path.iterdir())


def test_encoders_of_molflt_are_one_class():
    from molflt.training.pretrained import Pretrained

    encoder = Pretrained("emt-forces")
    record = model_record(molflt.FLTModel(encoder, model_of().targets))
    assert record["encoder_class"] == ""


class Stretched(molflt.FLTEncoder):
    """An encoder with an option of its own, kept or forgotten."""

    def __init__(self, factor: float = 1.0, keeps: bool = True, **options):
        super().__init__(**options)
        self.factor = factor
        self.config["keeps"] = keeps
        if keeps:
            self.config["factor"] = factor

    def forward(self, *arguments, **options):
        x, vec = super().forward(*arguments, **options)
        return self.factor * x, vec


def stretched(**options):
    sizes = {"width": 16, "num_layers": 1, "num_near_heads": 2, "num_far_heads": 0}
    return Stretched(factor=3.0, **options, **sizes)


def test_options_of_ones_own_come_back(tmp_path):
    model = molflt.FLTModel(stretched(), model_of().targets).eval()
    molflt.save_model(model, tmp_path / "own.ckpt")
    again = molflt.load(tmp_path / "own.ckpt", encoder_class=Stretched)
    assert again.encoder.factor == 3.0
    water = molecules()[1]
    assert torch.equal(energy_of(again)(water), energy_of(model)(water))


def test_options_that_a_checkpoint_would_forget_are_refused(tmp_path):
    words = "forget the option 'factor' of Stretched"
    with pytest.raises(UsageError, match=words):
        FLTTask(stretched(keeps=False))
    model = molflt.FLTModel(stretched(keeps=False), model_of().targets)
    with pytest.raises(UsageError, match=words):
        molflt.save_model(model, tmp_path / "own.ckpt")
    assert not list(tmp_path.iterdir())
