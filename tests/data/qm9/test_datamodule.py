import zipfile

import numpy as np
import pytest
import torch
from ase.build import molecule
from torch_geometric.loader import DataLoader

from molflt.cli import main
from molflt.data.qm9.datamodule import QM9, TABLE, prepare_qm9
from molflt.data.qm9.source import read_source, source_from_file
from molflt.data.qm9.table import read_table
from molflt.data.qm9.targets import ATOM_REFERENCES, CSV_COLUMNS, QM9_TARGETS
from molflt.errors import InputError, UsageError
from molflt.units import HARTREE, KCAL_PER_MOL
from tests.data.qm9_files import EXCLUDED, HEADER, upstream


@pytest.fixture
def read(files):
    return read_source(source_from_file(files))


def column(name):
    return [spec.name for spec in QM9_TARGETS].index(name)


def test_excluded_molecule_is_counted_from_one(read):
    graphs, values = read
    assert [g.sid for g in graphs] == [
        f"gdb_{i}" for i in range(1, 13) if i != EXCLUDED
    ]
    assert values.shape == (11, 19)
    assert not any(sorted(g.z.tolist()) == [1, 6, 7] for g in graphs)  # HCN
    assert any(sorted(g.z.tolist()) == [1, 1, 6, 8] for g in graphs)  # H2CO after it


def test_positions_are_upstreams(read):
    graphs, _ = read
    expected = molecule("CH3OH")
    graph = next(graph for graph in graphs if graph.sid == "gdb_8")
    assert graph.z.tolist() == expected.numbers.tolist()
    assert np.abs(graph.pos.numpy() - expected.positions).max() <= 5.01e-5


def test_order_is_that_of_pyg():
    names = (
        "mu alpha homo lumo gap r2 zpve u0 u h g cv u0_atom u_atom h_atom g_atom A B C"
    )
    assert [spec.name for spec in QM9_TARGETS] == names.split()
    assert sorted(CSV_COLUMNS) == sorted(HEADER.split(",")[1:])


def test_values_are_converted_in_float64(read):
    _, values = read
    assert values.dtype == np.float64
    methane = values[0]
    assert methane[column("u0")] == -40.47893 * HARTREE
    assert methane[column("gap")] == 0.5048 * HARTREE
    assert methane[column("u0_atom")] == -395.9995945941371 * KCAL_PER_MOL
    assert methane[column("cv")] == 6.469
    assert methane[column("A")] == 157.7118
    assert methane[column("mu")] == 0.0


@pytest.mark.parametrize("name", ATOM_REFERENCES)
def test_atom_references_give_upstreams_atomisation_energy(read, name):
    """U0 of methane minus its free atoms is upstream's column: -17.17 eV."""
    _, values = read
    reference = ATOM_REFERENCES[name]
    atomisation = values[0, column(name)] - reference[6] - 4 * reference[1]
    assert atomisation == pytest.approx(values[0, column(f"{name}_atom")], abs=1e-4)
    assert atomisation == pytest.approx({"u0": -17.17}.get(name, atomisation), abs=0.01)


def test_no_target_has_forces():
    assert {spec.kind for spec in QM9_TARGETS} == {"property"}
    extensive = {spec.name for spec in QM9_TARGETS if spec.extensive}
    assert {"u0", "g_atom", "zpve", "cv", "alpha", "r2"} <= extensive
    assert not extensive & {"mu", "homo", "lumo", "gap", "A", "B", "C"}


def test_zip_and_files_give_the_same(files, tmp_path):
    (tmp_path / "uncharacterized.txt").write_bytes(
        (files / "uncharacterized.txt").read_bytes()
    )
    with zipfile.ZipFile(tmp_path / "qm9.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("gdb9.sdf", "gdb9.sdf.csv"):
            archive.write(files / name, name)
    graphs, values = read_source(source_from_file(tmp_path / "qm9.zip"))
    others, other_values = read_source(source_from_file(files / "gdb9.sdf"))
    assert np.array_equal(values, other_values)
    for graph, other in zip(graphs, others, strict=True):
        assert graph.sid == other.sid
        assert torch.equal(graph.pos, other.pos)


def test_data_module(files, tmp_path):
    data = QM9(tmp_path, ["u0", "gap"], "random:1", 6, 2, from_file=files, batch_size=3)
    assert [spec.name for spec in data.targets] == ["u0", "gap"]
    assert data.targets[0].element_reference == ATOM_REFERENCES["u0"]
    data.prepare_data()
    data.setup("fit")
    assert (len(data.train), data.val_names, data.test_names) == (6, ["val"], ["test"])
    batches = list(data.train_dataloader())
    assert [batch.num_graphs for batch in batches] == [3, 3]
    sids = [sid for batch in batches for sid in batch.sid]
    sids += [
        graph.sid for split in (data.val["val"], data.test["test"]) for graph in split
    ]
    assert sorted(sids) == sorted(f"gdb_{i}" for i in range(1, 13) if i != EXCLUDED)
    assert len(data.split.digest) == 64


def test_graphs_of_the_table_are_those_of_the_files(files, tmp_path, read):
    graphs, values = read
    names = [spec.name for spec in QM9_TARGETS]
    data = QM9(tmp_path, names, "random:0", 11, 0, from_file=files)
    data.setup()
    stored = {graph.sid: graph for graph in data.train}
    assert len(stored) == len(graphs)
    for graph, labels in zip(graphs, values, strict=True):
        other = stored[graph.sid]
        for key in ("z", "pos", "cell", "pbc", "tags", "fixed"):
            assert torch.equal(graph[key], other[key]), key
            assert graph[key].dtype == other[key].dtype
        assert [float(other[name]) for name in names] == labels.tolist()
        assert other.u0.shape == (1,)
    sizes = [len(graph.z) for graph in data.train]
    assert data.train.num_atoms.tolist() == sizes


def test_batches_are_the_molecules_one_after_the_other(files, tmp_path):
    data = QM9(tmp_path, "u0", "random:0", 11, 0, from_file=files)
    data.setup()
    batch = next(iter(DataLoader(data.train, batch_size=11)))
    assert torch.equal(batch.pos, torch.cat([graph.pos for graph in data.train]))
    assert batch.u0.shape == (11,)
    assert batch.u0.dtype == torch.float64
    assert batch.cell.shape == (11, 3, 3)


def test_index_past_the_end(files, tmp_path):
    data = QM9(tmp_path, from_file=files)
    data.setup()
    with pytest.raises(IndexError):
        data.train[len(data.train)]


def test_table_is_made_once_and_anew_for_other_files(files, tmp_path):
    path = prepare_qm9(tmp_path, files)
    assert path == tmp_path / TABLE
    first = path.stat().st_mtime_ns
    assert prepare_qm9(tmp_path, files).stat().st_mtime_ns == first
    other = upstream(tmp_path / "other", excluded=(EXCLUDED, 7))
    prepare_qm9(tmp_path, other)
    data = QM9(tmp_path, split="random:0", from_file=other)
    data.setup()
    assert data.split.total == 10


def test_the_command_says_how_many_molecules_are_where(files, tmp_path, capsys):
    for _ in range(2):  # written, and there already
        assert main(["data", "qm9", str(tmp_path), "--from-file", str(files)]) == 0
        path = tmp_path / TABLE
        count = len(read_table(path, None)["number"])
        assert capsys.readouterr().out == f"{path}: {count} molecules\n"


def test_damaged_table_is_named(files, tmp_path):
    path = prepare_qm9(tmp_path, files)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"qm9\.safetensors is damaged"):
        prepare_qm9(tmp_path, files)


@pytest.mark.parametrize("target", ["energy", [], ["u0", "u0"]])
def test_unknown_targets(target):
    with pytest.raises(UsageError, match="QM9"):
        QM9(target=target)


@pytest.mark.slow
def test_124742_real_molecules(shared_data, tmp_path):
    """QM9 without fluorine: 124,742 molecules; methane, water and the range of U0."""
    archive = shared_data / "qm9" / "qm9.zip"
    if not archive.exists():
        pytest.skip(f"no {archive}")
    data = QM9(
        tmp_path, ["u0", "u0_atom", "gap"], "random:0", 10_000, 1_000, from_file=archive
    )
    data.setup()
    assert data.split.total == 124_742
    assert len(data.test["test"]) == 113_742
    splits = [data.train, data.val["val"], data.test["test"]]
    sizes = np.concatenate([split.num_atoms for split in splits])
    assert sizes.min() == 3
    assert sizes.max() == 29
    methane = next(g for split in splits for g in split if g.sid == "gdb_1")
    assert methane.z.tolist() == [6, 1, 1, 1, 1]
    assert float(methane.u0) == pytest.approx(-40.47893 * HARTREE, abs=1e-12)
    assert float(methane.u0_atom) == pytest.approx(-17.17, abs=0.005)
    assert float(methane.gap) == pytest.approx(0.5048 * HARTREE, abs=1e-12)
    # Atom references and atomisation energies agree for every molecule.
    reference = torch.zeros(119, dtype=torch.float64)
    for z, value in ATOM_REFERENCES["u0"].items():
        reference[z] = value
    for index in range(0, 10_000, 97):
        graph = data.train[index]
        rest = float(graph.u0) - float(reference[graph.z].sum())
        assert rest == pytest.approx(float(graph.u0_atom), abs=1e-3)
