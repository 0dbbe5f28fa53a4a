"""The command line: help, exit codes, one sentence an error, nothing half-written."""

import os
import pickle
import re
import zipfile
from pathlib import Path

import ase.io
import lmdb
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

import molflt
from molflt.cli import COMMANDS, main
from molflt.data.emt.generate import ADSORPTION_ENERGY
from molflt.data.lmdb.store import write_lmdb
from molflt.data.molecule import atoms_to_graph
from tests.builders import model_of
from tests.running import CONFIG, python


class Bomb:
    """A pickle that writes a file when it is loaded."""

    def __reduce__(self):
        return (open, ("exploded", "w"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(CONFIG)
    molflt.save_model(model_of(), "model.ckpt")
    ase.io.write("water.xyz", molecule("H2O"))
    return tmp_path


@pytest.fixture
def bad_files(folder):
    """Files that must be refused, by name, with words the sentence must have."""
    Path("empty").touch()
    Path("text.lmdb").write_text("no database\n" * 1000)
    graph = atoms_to_graph(molecule("H2O"), targets={"energy": 1.0})
    write_lmdb("whole.lmdb", [graph] * 99, targets=[ADSORPTION_ENERGY])
    whole = Path("whole.lmdb").read_bytes()
    Path("cut.lmdb").write_bytes(whole[: len(whole) // 2])
    with lmdb.open("evil.lmdb", subdir=False) as file, file.begin(write=True) as record:
        record.put(b"0", pickle.dumps(Bomb()))
    structures = {"nan": molecule("H2O"), "inf": molecule("H2O"), "gold": Atoms("Au")}
    structures["nan"].positions[1, 2] = np.nan
    structures["inf"].positions[1, 2] = np.inf
    structures["dummy"] = Atoms("XH", positions=[[0, 0, 0], [0, 0, 1]])
    structures["double"] = Atoms("H2", positions=np.ones((2, 3)))
    for name, atoms in structures.items():
        atoms.info["energy"] = 1.0
        ase.io.write(f"{name}.traj", atoms)
    torch.save({"state_dict": {}}, "other.ckpt")
    torch.save(Bomb(), "evil.ckpt")
    Path("text.ckpt").write_text("weights")
    with zipfile.ZipFile("zip.ckpt", "w") as file:
        file.writestr("a", "b")
    with open("pickle.ckpt", "wb") as file:
        pickle.dump(Bomb(), file)
    return folder


BAD_STRUCTURES = {
    "missing.xyz": "No such file: missing.xyz",
    "missing.lmdb": "No such file: missing.lmdb",
    "empty": "empty is empty",
    "config.yaml": "ASE cannot read it",
    "text.lmdb": "is not an LMDB file",
    "cut.lmdb": "cut short",
    "evil.lmdb": "evil.lmdb, record 0",
    "nan.traj": "positions of atom 1 is nan",
    "inf.traj": "positions of atom 1 is inf",
    "dummy.traj": "unknown species 0",
    "gold.traj": "has Au",
    "double.traj": "at one place",
}
BAD_CHECKPOINTS = {
    "missing.ckpt": "does not exist",
    "empty": "is not a molflt checkpoint",
    "other.ckpt": "is not a molflt checkpoint",
    "text.ckpt": "is not a molflt checkpoint",
    "zip.ckpt": "is not a molflt checkpoint",
    "evil.ckpt": "is not a molflt checkpoint",
    "pickle.ckpt": "is not a molflt checkpoint",
}


def assert_refused(words, phrase, capsys, code=1):
    """One sentence on stderr, the code, nothing printed, no file more or less."""
    before = sorted(os.listdir())
    capsys.readouterr()
    assert main(words) == code
    printed = capsys.readouterr()
    # What a target is may be said first; the error is one line.
    (line,) = [row for row in printed.err.splitlines() if row.startswith("molflt: ")]
    assert phrase in line
    assert "Traceback" not in printed.err
    assert not printed.out
    assert sorted(os.listdir()) == before
    assert not Path("exploded").exists()


def test_bad_structures(bad_files, capsys):
    for name, phrase in BAD_STRUCTURES.items():
        assert_refused(["predict", "model.ckpt", name, "-o", "o.csv"], phrase, capsys)


def test_bad_checkpoints(bad_files, capsys):
    for name, phrase in BAD_CHECKPOINTS.items():
        for words in (
            ["predict", name, "water.xyz"],
            ["test", "--config", "config.yaml", "--ckpt_path", name],
            ["fit", "--config", "config.yaml", "--ckpt_path", name],
        ):
            assert_refused(words, phrase, capsys)


def test_bad_training_data(bad_files, capsys):
    data = "--data.class_path=molflt.data.AtomsFiles"
    fit = ["fit", "--config", "config.yaml", data]
    frames = [molecule("H2O"), molecule("CO")]
    ase.io.write("unlabelled.traj", frames)
    for name, phrase in {
        "missing.traj": "No such file: missing.traj",
        "unlabelled.traj": "unlabelled.traj, frame 0: no 'energy'",
        "text.lmdb": "is not an LMDB file",
        "evil.lmdb": "evil.lmdb",
    }.items():
        assert_refused([*fit, f"--data.init_args.train={name}"], phrase, capsys)


def test_bad_data_to_convert(bad_files, capsys):
    refused = BAD_STRUCTURES | {"water.xyz": "water.xyz, frame 0: no 'energy'"}
    del refused["gold.traj"]  # it is only the checkpoint that does not know gold
    for name, phrase in refused.items():
        assert_refused(["data", "convert", name, "out.lmdb"], phrase, capsys)


@pytest.mark.parametrize(
    ("words", "phrase"),
    [
        ("", "required: COMMAND"),
        ("fti", "did you mean fit?"),
        ("predict model.ckpt", "required: INPUT"),
        ("predict model.ckpt water.xyz --btach-size 3", "did you mean --batch-size?"),
        ("predict model.ckpt water.xyz --batch-size 0", "must be at least 1"),
        ("predict model.ckpt water.xyz --batch-size 9999999999", "at most 1,000,000,0"),
        ("predict model.ckpt water.xyz --tags oc", "known: oc20, ase, auto, none"),
        ("predict model.ckpt water.xyz -o out.txt", "must end in .extxyz, .csv, .db"),
        (
            "predict model.ckpt water.xyz --device gpux",
            "The device gpux cannot be used",
        ),
        ("data emt", "required: OUT"),
        ("fit", "Missing model.encoder, data; give them with --config FILE"),
        ("fit --config config.yaml --model.lrr 1", "did you mean model.lr?"),
        ("fit --config config.yaml --trainer.max_epochs x", "must be int, not 'x'"),
        ("fit --config config.yaml --model.loss l3", "one of ['l1', 'mse', 'huber', "),
        ("fit --config config.yaml --model.loss l3", "or the path of a class or func"),
        (
            "fit --config config.yaml --model.schedule StepLR",
            "schedule lacks step_size",
        ),
        ("fit --config config.yaml --model.optimizer SGDx", "of a class or function"),
        (
            "fit --config config.yaml --model.optimizer torch.nn.Linear",
            "model.optimizer must be the path of a subclass of Optimizer, or of a func",
        ),
        # Without an annotation.
        ("fit --config config.yaml --model.loss operator.sub", "returns (-> Tensor)."),
        (
            "fit --config config.yaml --model.loss abc.update_abstractmethods",
            "Module, or",
        ),
        (
            "fit --config config.yaml --model.schedule torch.optim.lr_scheduler.Foo",
            "model.schedule: module 'torch.optim.lr_scheduler' has no attribute 'Foo'.",
        ),
        (
            "fit --config config.yaml --model.loss nowhere.loss",
            "Option model.loss: No module named 'nowhere'.",
        ),
        (
            "fit --config config.yaml --model.optimizer SGD --model.optimizer.lrr 1",
            "model.optimizer: There is no option 'lrr' (did you mean lr?)",
        ),
        ("fit --config config.yaml --data.batchsize 3", "no option 'batchsize'"),
        ("fit --config config.yaml --model.encoder.widht 3", "did you mean width?"),
        ("fit --config config.yaml --ema.decay 2", "must be in [0, 1)"),
        ("fit --config config.yaml --trainer.max_epochs -1", "needs an end"),
        ("test --config config.yaml", "molflt test needs --ckpt_path"),
    ],
)
def test_bad_usage(words, phrase, folder, capsys):
    assert_refused(words.split(), phrase, capsys, code=2)


def test_missing_and_broken_configurations(folder, capsys):
    assert_refused(["fit", "--config", "none.yaml"], "No such file", capsys)
    whole = Path("config.yaml").read_text()
    wrong_class = "data:\n  class_path: molflt.data.QM9\n  init_args: {rot: x}\nold:"
    for text, phrase in (
        ("model: [ -\n", "broken.yaml: The configuration is not valid YAML"),
        (
            "",
            "broken.yaml: A configuration has options such as model: and data:, not '",
        ),
        ("some words", "and data:, not 'some words'."),
        (whole.replace("model:", "modle:", 1), "did you mean model?"),
        (whole.replace("data:", wrong_class, 1), "data: There is no option 'rot' (did"),
    ):
        Path("broken.yaml").write_text(text)
        assert_refused(["fit", "--config", "broken.yaml"], phrase, capsys, code=2)


@pytest.mark.parametrize(
    ("targets", "phrase"),
    [
        ("[a, b]", "data.targets must be a list of TargetSpec, not ['a', 'b']."),
        ("a", "data.targets must be a list of TargetSpec, not 'a'."),
        ("[{name: a, unit: 1}]", "data.targets.unit must be str, not '1'."),
        ("[{nam: a}]", "There is no option 'nam' (did you mean name?)."),
        ("[{unit: eV}]", "Option data.targets lacks name."),
        ("[{name: a, unit: eV, readout: attention}]", "which needs extensive=False"),
    ],
)
def test_wrong_targets_are_one_sentence(targets, phrase, folder, capsys):
    whole = Path("config.yaml").read_text()
    options = f"{{train: a.xyz, targets: {targets}}}"
    chosen = f"data:\n  class_path: molflt.data.AtomsFiles\n  init_args: {options}\n"
    Path("wrong.yaml").write_text(whole.partition("data:")[0] + chosen)
    assert_refused(["fit", "--config", "wrong.yaml"], phrase, capsys, code=2)
    assert "Union" not in capsys.readouterr().err


def test_debug_shows_the_traceback_wherever_it_stands(folder):
    for words in (["--debug", "fti"], ["predict", "--debug", "none", "water.xyz"]):
        with pytest.raises(Exception, match=r"fti|none"):
            main(words)


def test_help_names_the_commands_and_does_not_load_torch():
    program = "import sys, molflt.cli; molflt.cli.main(['--help']); print(*sys.modules)"
    done = python("-c", program)
    for command in COMMANDS:
        assert re.search(rf"^    {command}\b", done.stdout, re.MULTILINE)
    modules = done.stdout.splitlines()[-1].split()
    assert "torch" not in modules
    assert "numpy" not in modules


@pytest.mark.parametrize(
    "command", ["predict", "data", "data emt", "submission", "demo"]
)
def test_help_of_commands(command, capsys):
    assert main([*command.split(), "--help"]) == 0
    printed = capsys.readouterr().out
    assert f"usage: molflt {command}" in printed
    assert "slice(" not in printed  # an object of Python, as a default
