import json

import ase.io
import numpy as np
import pytest
import torch

import molflt
from molflt.cli import main
from molflt.commands import demo as command
from molflt.commands import demo_run as demo
from molflt.commands.demo_plan import StepTimer, make_plan
from molflt.data.emt.generate import ADSORPTION_ENERGY, SPLITS
from molflt.data.lmdb.store import write_lmdb
from molflt.data.molecule import make_graph
from tests.builders import labelled_slab

# Small, but the file `molflt demo` reads.
TINY = """
model:
  interaction_energy: true
  encoder:
    class_path: molflt.FLTEncoder
    init_args: {width: 16, num_layers: 1, num_near_heads: 2, num_far_heads: 1}
data:
  class_path: molflt.data.EMTIS2RE
  init_args: {batch_size: 2}
checkpoint: {monitor: val_id/energy/mae_eV}
trainer: {max_epochs: 3}
"""


@pytest.fixture
def root(tmp_path):
    """A data set of 8 + 4 x 3 slabs with the elements of the example."""
    folder = tmp_path / "data"
    folder.mkdir()
    for offset, split in enumerate(SPLITS):
        graphs = [
            labelled_slab(100 * offset + seed)
            for seed in range(7 if offset == 0 else 2)
        ]
        carbon = make_graph([6, 8], [[0, 0, 0], [0, 0, 1.2]], targets={"energy": 0.1})
        carbon.pos_relaxed = carbon.pos.clone()
        graphs.append(carbon)
        write_lmdb(folder / f"{split}.lmdb", graphs, targets=[ADSORPTION_ENERGY])
    return folder


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    monkeypatch.setattr(command, "CONFIG", path)
    monkeypatch.chdir(tmp_path)


def test_demo_leaves_what_it_promises(root, tiny, tmp_path, capsys):
    assert main(["demo", "--root", str(root), "--out", "out"]) == 0
    printed = capsys.readouterr().out
    out = tmp_path / "out"
    names = {"demo.ckpt", "metrics.json", "parity.png", "kernels.png"}
    names |= {"structure.extxyz", "prediction.extxyz"}
    assert {path.name for path in out.iterdir()} == names
    assert not list(tmp_path.glob("lightning_logs")) + list(tmp_path.glob("runs"))
    for name in ("parity.png", "kernels.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    record = json.loads((out / "metrics.json").read_text())
    assert record["training"]["steps"] == 12  # 3 epochs of 4 batches fit in any time
    assert record["command"] == f"molflt demo --root {root} --out out"
    assert {"machine", "versions", "commit", "date"} <= record.keys()
    assert list(record["results"]) == list(SPLITS[1:])
    model = molflt.load(out / "demo.ckpt")
    assert model.origin["training"]["steps"] == 12
    for split, row in record["results"].items():
        assert split in printed
        assert row["structures"] == 3
        for method in demo.METHODS:
            assert f"{row[method]['mae_eV']:.3f} eV" in printed
    dataset = molflt.data.EMTIS2RE(root)
    dataset.setup()
    mean = np.mean([float(graph.energy) for graph in dataset.train])
    known = [float(graph.energy) for graph in dataset.val["val_id"]]
    found = record["results"]["val_id"]["mean"]["mae_eV"]
    assert found == pytest.approx(np.abs(known - mean).mean())
    # The table's numbers are those of the checkpoint.
    split = dataset.val["val_id"]
    errors = [
        float(model(graph)["energy"].detach() - graph.energy)
        for graph in (split[index] for index in range(3))
    ]
    mae = sum(map(abs, errors)) / 3
    assert record["results"]["val_id"]["FLT"]["mae_eV"] == pytest.approx(mae, rel=1e-4)
    # So is the energy of the example.
    atoms = ase.io.read(out / "structure.extxyz")
    predicted = ase.io.read(out / "prediction.extxyz").info["predicted_energy"]
    assert predicted == pytest.approx(model.predict([atoms])["energy"][0], rel=1e-5)
    assert f"CO on Cu(111): {predicted:.3f} eV" in printed


def test_time_decides_on_steps_and_threads(root, tiny, monkeypatch):
    threads = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(StepTimer, "results", lambda timer: [(2.0, 1), (3.0, 2)])
    words = ["--config", str(command.CONFIG), f"--data.init_args.root={root}"]
    words += ["--trainer.logger=false", "--trainer.enable_checkpointing=false"]
    try:
        plan = make_plan(words, minutes=0.2, steps=None)
        monkeypatch.undo()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
    # 12 s, of which a share is for steps of 2 s.
    assert (plan.steps, plan.batches, plan.epochs) == (5, 4, 2)


def test_steps_and_seed_give_one_model(root, tiny, tmp_path):
    for out in ("a", "b"):
        words = ["--root", str(root), "--out", out, "--steps", "3"]
        assert main(["demo", *words]) == 0
    a, b = (molflt.load(tmp_path / out / "demo.ckpt").state_dict() for out in "ab")
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_without_the_sample_a_smaller_one_is_made_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("molflt.data.emt.datamodule.SAMPLE", tmp_path / "absent")
    made = []

    def generate(out, num, **options):
        made.append((num, options["num_val"]))
        out.mkdir()
        (out / "train.lmdb").touch()

    monkeypatch.setattr("molflt.data.emt.generate.generate", generate)
    for _ in range(2):
        assert command.sample(tmp_path / "made") == tmp_path / "made"
    assert made == [(command.NUM_TRAIN, command.NUM_VAL)]
    assert "generating a smaller one, 760 systems" in capsys.readouterr().out


def test_the_configuration_travels_with_the_package(repository):
    shipped = repository / "configs" / "emt.yaml"
    assert command.CONFIG.read_text() == shipped.read_text()
