"""Every shipped configuration builds its objects, and runs a batch on tiny data."""

from pathlib import Path

import numpy as np
import pytest

from molflt.cli import main
from molflt.commands.lightning import FLTCLI
from molflt.data.emt_generate import ADSORPTION_ENERGY as EMT_ENERGY
from molflt.data.emt_generate import SPLITS
from molflt.data.lmdb import write_lmdb
from molflt.data.molecule import make_graph
from molflt.data.ocp_dataset import ADSORPTION_ENERGY as OC20_ENERGY
from tests.data.test_qm9 import upstream

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def slab(seed):
    """Two layers of copper with an oxygen atom, shaken."""
    rng = np.random.default_rng(seed)
    layer = np.array([[0, 0, 0], [2.5, 0, 0], [0, 2.5, 0], [2.5, 2.5, 0]])
    pos = np.concatenate([layer, layer + np.array([1.2, 1.2, 1.8]), [[1.2, 1.2, 3.6]]])
    return make_graph(
        [29] * 8 + [8],
        pos + 0.1 * rng.normal(size=pos.shape),
        cell=np.diag([5.0, 5.0, 20.0]),
        pbc=[True, True, False],
        tags=[0] * 4 + [1] * 4 + [2],
        sid=str(seed),
        targets={"energy": rng.normal()},
    )


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """A folder of data for each data module."""
    top = tmp_path_factory.mktemp("data")
    for name, spec in (("EMTIS2RE", EMT_ENERGY), ("OC20IS2RE", OC20_ENERGY)):
        folder = top / name
        folder.mkdir()
        for split in SPLITS:
            graphs = [slab(seed) for seed in range(3)]
            write_lmdb(folder / f"{split}.lmdb", graphs, targets=[spec])
    upstream(top / "QM9")
    return top


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_config_builds_and_runs(path, roots, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = path.read_text()
    (module,) = [word for word in ("EMTIS2RE", "OC20IS2RE", "QM9") if word in text]
    words = ["--config", str(path), f"--data.init_args.root={roots / module}"]
    if module == "QM9":
        words += [f"--data.init_args.num_{part}=3" for part in ("train", "val", "test")]
    cli = FLTCLI(words, run=False)
    assert cli.datamodule.targets[0].name in cli.config["checkpoint"]["monitor"]
    assert cli.config["name"] == path.stem
    words += [
        "--trainer.fast_dev_run=true",
        "--trainer.accelerator=cpu",
        "--data.init_args.num_workers=0",
        "--model.encoder.init_args.width=16",
        "--model.encoder.init_args.num_layers=1",
    ]
    assert main(["fit", *words]) == 0, capsys.readouterr().err
    # What picks the best checkpoint is among what validation logs.
    split, target, metric = cli.config["checkpoint"]["monitor"].split("/")
    assert metric == "mae_eV"
    printed = capsys.readouterr().out
    assert split in printed
    assert target in printed
    assert not list(tmp_path.iterdir())
