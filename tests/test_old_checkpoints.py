"""Checkpoints that were written once load for ever, and predict what they did.

The files in `tests/checkpoints` stand for those that users keep. If a test here fails,
the code is to be changed (`model_from_record` can translate an older format), never the
files.
"""

import json
import pickletools
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import molflt
from molflt.checkpoint import FORMAT, model_from_record, model_record
from molflt.errors import InputError
from molflt.training.checkpoint_io import AtomicCheckpointIO
from tests.checkpoints.make import predictions

FOLDER = Path(__file__).resolve().parent / "checkpoints"
FILES = sorted(FOLDER.glob("*.ckpt"))

TOLERANCE = {("favor_1", "forces"): 1e-7, "masked_1": 1e-7, "softmax_1": 1e-7}
"""Absolute, by file or file and quantity; 1e-9 for all else.

Forces of `favor_1` were the gradient but for FAVOR+'s floor of 1e-6; the others' far
heads sum over more frequencies of periodic systems now, a thousandth of `far_tolerance`
away.
"""

every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


@every_file
def test_predictions_are_those_of_the_day_it_was_written(path):
    model = molflt.load(path)
    systems = json.loads(path.with_suffix(".json").read_text())
    for system in systems:
        expected = system.pop("predictions")
        found = predictions(model, system)
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            of_file = TOLERANCE.get(path.stem, 1e-9)
            tolerance = TOLERANCE.get((path.stem, name), of_file)
            np.testing.assert_allclose(
                found[name], values, rtol=1e-9, atol=tolerance, err_msg=name
            )


@every_file
def test_classes_of_molflt_can_be_renamed(path):
    """Nothing in a file names a module or class but torch's own for tensors."""
    assert globals_in(path) <= {
        "collections OrderedDict",
        "torch._utils _rebuild_tensor_v2",
        "torch DoubleStorage",
        "torch LongStorage",
    }


@every_file
def test_what_is_saved_again_is_the_same(path, tmp_path):
    model = molflt.load(path)
    molflt.save_model(model, tmp_path / "again.ckpt")
    again = model_record(molflt.load(tmp_path / "again.ckpt"))
    first = torch.load(path, weights_only=True)["molflt"]
    assert again["targets"] == [t | first_missing(t, first) for t in again["targets"]]
    assert again["statistics"] == first["statistics"]
    assert first["encoder"].items() <= again["encoder"].items()
    assert again["state"].keys() == first["state"].keys()
    for name, value in first["state"].items():
        assert torch.equal(value, again["state"][name]), name


def test_there_is_a_file_of_this_format():
    formats = {torch.load(p, weights_only=True)["molflt"]["format"] for p in FILES}
    assert FORMAT in formats
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 250_000


def test_options_without_effect_that_were_accepted_once_do_no_harm():
    record = torch.load(FOLDER / "masked_1.ckpt", weights_only=True)["molflt"]
    expected = model_from_record(record)
    record["encoder"] |= {"num_frequencies": 64, "spectrum": "free"}
    state = model_from_record(record).state_dict()
    assert state.keys() == expected.state_dict().keys()


def test_a_newer_format_is_refused_with_what_helps(tmp_path):
    content = torch.load(FILES[0], weights_only=True)
    content["molflt"] |= {"format": FORMAT + 1, "version": "9.1"}
    torch.save(content, tmp_path / "new.ckpt")
    with pytest.raises(InputError, match=r"written by molflt 9\.1.*newer molflt"):
        molflt.load(tmp_path / "new.ckpt")


def test_a_training_checkpoint_names_no_class_of_the_model(tmp_path):
    record = model_record(molflt.load(FILES[0]))
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"molflt": record, "loops": {}}, path)
    assert not any("molflt" in name for name in globals_in(path))
    assert molflt.load(path).targets == molflt.load(FILES[0]).targets


def first_missing(target, first):
    """The fields that the file has, which must be as they were."""
    return next(t for t in first["targets"] if t["name"] == target["name"])


def globals_in(path):
    """Names of everything that the pickle inside a torch file would import."""
    with zipfile.ZipFile(path) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith("data.pkl")]
        content = archive.read(name)
    return {arg for op, arg, _ in pickletools.genops(content) if op.name == "GLOBAL"}
