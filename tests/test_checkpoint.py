"""Checkpoints: round trip, safety, and one sentence for every wrong file."""

import pickle
import resource

import pytest
import torch
from ase.build import molecule

import molflt
from molflt.checkpoint import load, model_from_record, model_record, save_model
from molflt.errors import InputError, UsageError
from molflt.model import FLTEncoder, FLTModel
from molflt.targets import TargetSpec

STATISTICS = {
    "element_reference": {1: -13.5, 8: -2000.25},
    "mean": 0.5,
    "std": 2.0,
    "elements": [1, 8],
}


@pytest.fixture
def model():
    spec = TargetSpec("energy", reference="E(total)", kind="relaxed")
    model = FLTModel(FLTEncoder(width=16, num_layers=1, near_components=4), [spec])
    model.set_statistics("energy", STATISTICS)
    return model.eval()


def test_a_checkpoint_is_enough(model, tmp_path):
    path = tmp_path / "model.ckpt"
    save_model(model, path, origin={"epochs": 3})
    again = molflt.load(path)
    assert again.origin == {"epochs": 3}
    water = [molecule("H2O")]
    assert again.predict(water)["energy"] == model.predict(water)["energy"]
    assert again.targets == model.targets
    assert again.statistics == model.statistics
    assert again.encoder.config == model.encoder.config
    assert not again.training


def test_the_record_holds_only_tensors_and_plain_values(model):
    def plain(value):
        if isinstance(value, dict):
            return all(plain(k) and plain(v) for k, v in value.items())
        if isinstance(value, list | tuple):
            return all(map(plain, value))
        return value is None or isinstance(
            value, str | int | float | bool | torch.Tensor
        )

    assert plain(model_record(model))


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (open, (str(self.target), "w"))


def test_a_malicious_checkpoint_is_refused_and_not_executed(tmp_path):
    sentinel = tmp_path / "executed"
    path = tmp_path / "evil.ckpt"
    torch.save({"molflt": Malicious(sentinel)}, path)
    with pytest.raises(InputError, match=r"evil\.ckpt is not a molflt checkpoint"):
        load(path)
    assert not sentinel.exists()


def write_text(path):
    path.write_text("hello, I am no checkpoint\n")


def write_nothing(path):
    path.write_bytes(b"")


def write_pickle(path):
    path.write_bytes(pickle.dumps({"state_dict": {}}))


def write_other_program(path):
    torch.save({"state_dict": {"weight": torch.zeros(2)}}, path)


def write_cut(path):
    other = path.with_suffix(".whole")
    write_other_program(other)
    path.write_bytes(other.read_bytes()[:200])


def write_newer(path):
    torch.save({"molflt": {"format": 99}}, path)


def write_incomplete(path):
    torch.save({"molflt": {"format": 1, "targets": []}}, path)


@pytest.mark.parametrize(
    "write",
    [
        write_text,
        write_nothing,
        write_pickle,
        write_other_program,
        write_cut,
        write_newer,
        write_incomplete,
    ],
)
def test_a_wrong_file_is_one_sentence_that_names_it(write, tmp_path):
    path = tmp_path / "file.ckpt"
    write(path)
    with pytest.raises(InputError, match=r"file\.ckpt") as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_weights_that_were_damaged_on_the_way_are_refused(model, tmp_path):
    """Some bytes in the middle: torch reads them, the archive knows them as wrong."""
    path = tmp_path / "model.ckpt"
    save_model(model, path)
    content = bytearray(path.read_bytes())
    weights = model.encoder.norm.weight.detach().numpy().tobytes()
    place = content.find(weights)
    assert place > 0
    content[place + 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.ckpt is damaged: .* checksum"):
        molflt.load(path)


def test_weights_of_another_type_are_refused(model):
    record = model_record(model)
    weight = record["state"]["encoder.norm.bias"]
    record["state"]["encoder.norm.bias"] = weight.long()
    with pytest.raises(
        InputError, match=r"encoder\.norm\.bias has the type torch.int64"
    ):
        model_from_record(record)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load(tmp_path / "nowhere.ckpt")
    with pytest.raises(InputError, match="folder"):
        load(tmp_path)


def test_a_full_disk_leaves_the_old_checkpoint(model, tmp_path, monkeypatch):
    path = tmp_path / "model.ckpt"
    save_model(model, path)
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("molflt.checkpoint.save", full)
    with pytest.raises(InputError, match="No space left"):
        save_model(model, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_stops_says_why(model, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(InputError, match="^Cannot write .*: File too large"):
            save_model(model, tmp_path / "model.ckpt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["model", "model.ckpt", ".hidden", "a model.v1.pt"])
def test_any_name_will_do(name, model, tmp_path):
    save_model(model, tmp_path / name)
    again = molflt.load(tmp_path / name)
    assert again.targets == model.targets
    (tmp_path / "other").write_bytes((tmp_path / name).read_bytes())
    save_model(model, tmp_path / "other")  # the same bytes whatever the name
    assert (tmp_path / "other").read_bytes() == (tmp_path / name).read_bytes()


def test_species_outside_the_training_set_are_named(model):
    with pytest.raises(InputError, match=r"Structure 1 \(.*\) has C, N"):
        model.predict([molecule("H2O"), molecule("HCN")])


def test_predictions_come_in_input_order(model):
    structures = [molecule(n) for n in ("H2O", "H2", "H2O2", "H2O")]
    structures[3].rattle(0.2)
    together = model.predict(structures, batch_size=3)["energy"]
    alone = [model.predict([atoms])["energy"][0] for atoms in structures]
    torch.testing.assert_close(
        torch.tensor(together), torch.tensor(alone), rtol=1e-6, atol=1e-5
    )


def test_no_structures_give_no_predictions(model):
    assert model.predict([])["energy"].shape == (0,)


def test_wrappers_of_a_model_are_told_from_it(model, tmp_path):
    wrapped = torch.optim.swa_utils.AveragedModel(model)
    with pytest.raises(UsageError, match="not of AveragedModel; .* as .module"):
        save_model(wrapped, tmp_path / "a.ckpt")
    save_model(wrapped.module, tmp_path / "a.ckpt")
    again = load(tmp_path / "a.ckpt").state_dict()
    assert all(torch.equal(again[k], v) for k, v in model.state_dict().items())


@pytest.mark.parametrize("default", ["meta", "cpu"])
def test_a_checkpoint_is_read_whatever_the_default_device(model, tmp_path, default):
    save_model(model, tmp_path / "a.ckpt")
    with torch.device(default):
        found = load(tmp_path / "a.ckpt")
    for name, value in model.state_dict().items():
        assert torch.equal(found.state_dict()[name], value)
