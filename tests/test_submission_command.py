import numpy as np
import pytest

import molflt
from molflt.cli import main
from molflt.commands.submission import submit
from molflt.data.lmdb.store import write_lmdb
from molflt.data.oc20.dataset import ADSORPTION_ENERGY
from molflt.data.oc20.submission import SPLITS
from molflt.errors import InputError
from molflt.targets import TargetSpec
from tests.builders import labelled_slab, model_of


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The four test splits, of 2, 3, 4 and 5 systems without labels."""
    monkeypatch.chdir(tmp_path)
    molflt.save_model(model_of(ADSORPTION_ENERGY), "model.ckpt")
    for count, folder in enumerate(SPLITS.values(), start=2):
        graphs = [labelled_slab(seed) for seed in range(count)]
        for graph in graphs:
            del graph.energy
        write_lmdb(f"{folder}.lmdb", graphs, targets=[ADSORPTION_ENERGY])
    return tmp_path


def test_file_has_every_system_once_in_double_precision(root):
    counts = dict(zip(SPLITS, (2, 3, 4, 5), strict=True))
    submit("model.ckpt", root, root / "out.npz", batch_size=2, counts=counts)
    model = molflt.load("model.ckpt")
    with np.load("out.npz", allow_pickle=False) as written:
        for split, count in counts.items():
            energies = written[f"{split}_energy"]
            assert list(written[f"{split}_ids"]) == [str(i) for i in range(count)]
            assert energies.dtype == np.float64
            expected = [
                float(model(labelled_slab(i))["energy"].detach()) for i in range(count)
            ]
            np.testing.assert_allclose(energies, expected, rtol=1e-5)


def test_incomplete_splits_are_refused_before_predicting(root, capsys):
    words = ["submission", "model.ckpt", "--root", ".", "-o", "out.npz"]
    assert main(words) == 1
    assert "test_id has 2 systems instead of 24,948" in capsys.readouterr().err
    (root / "test_ood_cat.lmdb").unlink()
    assert main(words) == 1
    assert "test_ood_cat is missing" in capsys.readouterr().err
    assert not (root / "out.npz").exists()


def test_only_relaxed_energies_are_submitted(root):
    molflt.save_model(model_of(TargetSpec("energy")), "other.ckpt")
    with pytest.raises(InputError, match="does not predict one energy after relax"):
        submit("other.ckpt", root, root / "out.npz")
