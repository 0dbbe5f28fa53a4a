"""Every shipped configuration builds its objects, and runs a batch on tiny data."""

import numpy as np
import pytest
import torch
import yaml

from molflt.cli import main
from molflt.commands.lightning import FLTCLI
from molflt.data.emt.generate import ADSORPTION_ENERGY as EMT_ENERGY
from molflt.data.emt.generate import SPLITS, TOTAL_ENERGY
from molflt.data.lmdb.store import write_lmdb
from molflt.data.oc20.dataset import ADSORPTION_ENERGY as OC20_ENERGY
from molflt.data.qm9.targets import qm9_targets
from molflt.training.objective import MEAN_ERROR
from molflt.unit_names import unit_in_name
from tests.builders import labelled_slab, water_frames
from tests.data.qm9_files import upstream
from tests.running import CONFIGS

MODULES = ("EMTIS2RE", "OC20IS2RE", "QM9", "RMD17")
QM9_STANDARD = {
    *("mu", "alpha", "homo", "lumo", "gap", "r2"),
    *("zpve", "u0", "u", "h", "g", "cv"),
}


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """A folder of data for each data module."""
    top = tmp_path_factory.mktemp("data")
    for name, spec in (("EMTIS2RE", EMT_ENERGY), ("OC20IS2RE", OC20_ENERGY)):
        folder = top / name
        folder.mkdir()
        for split in SPLITS:
            graphs = [labelled_slab(seed) for seed in range(3)]
            write_lmdb(folder / f"{split}.lmdb", graphs, targets=[spec])
            for graph in graphs:
                graph.forces = torch.zeros_like(graph.pos)
            path = folder / f"frames_{split}.lmdb"
            write_lmdb(path, graphs, targets=[TOTAL_ENERGY])
    upstream(top / "QM9")
    (top / "RMD17").mkdir()
    for part, count in (("train", 55), ("test", 3)):
        np.savez(top / "RMD17" / f"rmd17_aspirin_{part}_01.npz", **water_frames(count))
    return top


# That of fine-tuning needs a checkpoint: tests/training/test_pretrained.py.
PATHS = sorted(path for path in CONFIGS.glob("*.yaml") if path.stem != "finetune")


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_config_builds_and_runs(path, roots, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = path.read_text()
    (module,) = [word for word in MODULES if f"molflt.data.{word}\n" in text]
    words = ["--config", str(path), f"--data.init_args.root={roots / module}"]
    if module == "QM9":
        words += [f"--data.init_args.num_{part}=3" for part in ("train", "val", "test")]
    cli = FLTCLI(words, run=False)
    monitor = cli.config["checkpoint"]["monitor"]
    targets = cli.datamodule.targets
    assert cli.config["name"] == path.stem
    words += [
        "--trainer.fast_dev_run=true",
        "--trainer.accelerator=cpu",
        "--data.init_args.num_workers=0",
        "--model.encoder.init_args.width=16",
        "--model.encoder.init_args.num_layers=1",
    ]
    assert main(["fit", *words]) == 0, capsys.readouterr().err
    # What picks the best checkpoint is among what validation logs: of several targets
    # the mean of all, of one its error, that of forces where they are learned.
    unit = unit_in_name(targets[0].unit)
    forces = cli.config["model"]["force_weight"] > 0
    metric = f"force_mae_{unit}_per_A" if forces else f"mae_{unit}"
    error = MEAN_ERROR if len(targets) > 1 else f"{targets[0].name}/{metric}"
    split = monitor.partition("/")[0]
    assert monitor == f"{split}/{error}"
    printed = capsys.readouterr().out
    assert all(word in printed for word in (split, *(spec.name for spec in targets)))
    assert not list(tmp_path.iterdir())


def test_configs_of_qm9_differ_in_their_target_alone():
    """One architecture and one schedule for all."""
    paths = sorted(CONFIGS.glob("qm9_*.yaml"))
    assert {path.stem[len("qm9_") :] for path in paths} == QM9_STANDARD
    rests = set()
    for path in paths:
        name = path.stem.removeprefix("qm9_")
        (spec,) = qm9_targets(name)
        monitor = f"val/{name}/mae_{unit_in_name(spec.unit)}"
        first, rest = path.read_text().split("\n", 1)
        assert first.startswith("# QM9, ")
        assert f"({name})" in first
        for line, general in (
            (f"name: qm9_{name}", "name"),
            (f"target: {name}", "target"),
            (f"monitor: {monitor}", "monitor"),
            (f"configs/qm9_{name}.yaml", "path"),
        ):
            assert rest.count(f"{line}\n") == 1
            rest = rest.replace(f"{line}\n", f"{general}\n")
        rests.add(rest)
    assert len(rests) == 1


def test_config_of_all_targets_of_qm9_has_them_and_the_same_training():
    together, alone = (
        yaml.safe_load((CONFIGS / name).read_text())
        for name in ("qm9.yaml", "qm9_u0.yaml")
    )
    targets = together["data"]["init_args"].pop("target")
    assert together["data"]["init_args"].pop("geometry") == "both"
    assert together["data"]["init_args"].pop("least_share") == 0.01
    assert 2 * together["trainer"].pop("max_epochs") == alone["trainer"].pop(
        "max_epochs"
    )
    assert set(targets) == QM9_STANDARD
    assert len(targets) == len(QM9_STANDARD)
    del alone["data"]["init_args"]["target"]
    assert together.pop("name") == "qm9"
    assert alone.pop("name") == "qm9_u0"
    assert together["checkpoint"].pop("monitor") == f"val/{MEAN_ERROR}"
    del alone["checkpoint"]["monitor"]
    assert together == alone
