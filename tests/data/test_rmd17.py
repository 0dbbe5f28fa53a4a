import numpy as np
import pytest
import torch

from molflt.data.rmd17 import RMD17, read_rmd17
from molflt.errors import InputError, UsageError
from molflt.units import KCAL_PER_MOL


def arrays(count):
    rng = np.random.default_rng(0)
    coords = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0]]) + rng.normal(
        scale=0.05, size=(count, 3, 3)
    )
    return {
        "nuclear_charges": np.array([8, 1, 1], dtype=np.uint8),
        "coords": coords,
        "energies": rng.normal(-40_000, 5, size=count),
        "forces": rng.normal(scale=20, size=(count, 3, 3)),
    }


@pytest.fixture
def archive(tmp_path):
    (tmp_path / "npz_data").mkdir()
    (tmp_path / "splits").mkdir()
    np.savez(tmp_path / "npz_data" / "rmd17_water.npz", **arrays(30))
    (tmp_path / "splits" / "index_train_02.csv").write_text(
        "".join(f"{i}\n" for i in range(29, 9, -1))
    )
    (tmp_path / "splits" / "index_test_02.csv").write_text("0\n3\n5\n")
    return tmp_path


def test_units_and_positions(archive):
    expected = arrays(30)
    graphs = read_rmd17(archive / "npz_data" / "rmd17_water.npz")
    assert len(graphs) == 30
    for i, graph in enumerate(graphs):
        assert float(graph.energy) == expected["energies"][i] * KCAL_PER_MOL
        assert np.array_equal(graph.forces, expected["forces"][i] * KCAL_PER_MOL)
        assert np.array_equal(graph.pos, expected["coords"][i])
        assert graph.z.tolist() == [8, 1, 1]


def test_published_split_of_the_archive(archive):
    data = RMD17(archive, "water", split=2, num_val=4)
    data.setup()
    assert [graph.sid for graph in data.train] == [str(i) for i in range(29, 13, -1)]
    assert [graph.sid for graph in data.val["val"]] == ["13", "12", "11", "10"]
    assert [graph.sid for graph in data.test["test"]] == ["0", "3", "5"]
    (target,) = data.targets
    assert (target.name, target.kind, target.unit) == ("energy", "potential", "eV")
    batch = next(iter(data.train_dataloader()))
    assert batch.forces.shape == batch.pos.shape


def test_one_file_a_part(tmp_path):
    np.savez(tmp_path / "rmd17_water_train_01.npz", **arrays(10))
    np.savez(tmp_path / "rmd17_water_test_01.npz", **arrays(5))
    data = RMD17(tmp_path, "water", num_val=2)
    data.setup()
    assert (len(data.train), len(data.val["val"]), len(data.test["test"])) == (8, 2, 5)


def test_missing_files_are_named(archive):
    with pytest.raises(InputError, match="rmd17_wine.npz; fetch .*https"):
        RMD17(archive, "wine").setup()
    with pytest.raises(InputError, match="index_train_03.csv: there is no such file"):
        RMD17(archive, "water", split=3).setup()
    (archive / "splits" / "index_train_02.csv").write_text("0\n30\n")
    with pytest.raises(InputError, match="30 geometries .* number 30"):
        RMD17(archive, "water", split=2).setup()
    (archive / "splits" / "index_train_02.csv").write_text("0\nx\n")
    with pytest.raises(InputError, match="one index a line"):
        RMD17(archive, "water", split=2).setup()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"forces": np.zeros((10, 2, 3))}, r"forces \(10, 2, 3\) must both be"),
        ({"nuclear_charges": np.array([8, 1, 119])}, "geometry 0: .*unknown species"),
        ({"energies": np.full(10, np.nan)}, "geometry 0: .*energy.*finite"),
        ({"coords": np.array([object()])}, "not a file of revised MD17"),
    ],
)
def test_unusable_files(tmp_path, changes, message):
    np.savez(tmp_path / "a.npz", **{**arrays(10), **changes})
    with pytest.raises(InputError, match=message):
        read_rmd17(tmp_path / "a.npz")


def test_other_files(tmp_path):
    (tmp_path / "a.npz").write_text("text")
    with pytest.raises(InputError, match="not a file of revised MD17"):
        read_rmd17(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", coords=np.zeros(3))
    with pytest.raises(InputError, match="not a file of revised MD17"):
        read_rmd17(tmp_path / "b.npz")


@pytest.mark.parametrize("options", [{"split": 0}, {"split": 6}, {"num_val": -1}])
def test_bad_usage(options):
    with pytest.raises(UsageError, match="must"):
        RMD17(**options)


def test_more_validation_than_training(archive):
    with pytest.raises(UsageError, match="below the 20 training geometries"):
        RMD17(archive, "water", split=2, num_val=20).setup()


def test_real_aspirin(shared_data):
    folder = shared_data / "rmd17"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    data = RMD17(folder, "aspirin")
    data.setup()
    assert (len(data.train), len(data.val["val"]), len(data.test["test"])) == (
        950,
        50,
        1000,
    )
    energies = torch.cat([graph.energy for graph in data.train])
    # Total energy of C9H8O4 with PBE, about -647 hartree
    assert energies.mean() == pytest.approx(-647.4 * 27.2114, rel=1e-3)
    # No net force on an isolated molecule
    assert data.train[0].forces.sum(dim=0).abs().max() < 1e-3
