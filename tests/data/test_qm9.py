import re
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import molecule
from torch_geometric.loader import DataLoader

from molflt.data.qm9 import QM9, TABLE, prepare_qm9
from molflt.data.qm9_source import find_source, read_source, source_from_file
from molflt.data.qm9_targets import ATOM_REFERENCES, CSV_COLUMNS, QM9_TARGETS
from molflt.errors import InputError, UsageError
from molflt.units import HARTREE, KCAL_PER_MOL
from tests.data.qm9_files import EXCLUDED, HEADER, sdf_record, upstream


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return upstream(tmp_path_factory.mktemp("qm9") / "raw")


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


def test_files_are_found_in_the_layout_of_pyg(tmp_path, monkeypatch):
    upstream(tmp_path / "raw")
    assert find_source(tmp_path).sdf == tmp_path / "raw" / "gdb9.sdf"
    prepare_qm9(tmp_path)
    # Without upstream's files the packed molecules are enough.
    for file in (tmp_path / "raw").iterdir():
        file.unlink()
    assert prepare_qm9(tmp_path) == tmp_path / TABLE


def test_nothing_to_download_from_is_one_sentence(tmp_path, monkeypatch):
    gone = ("http://127.0.0.1:9/qm9.zip",)
    monkeypatch.setattr("molflt.data.qm9_source.ZIP_URLS", gone)
    with pytest.raises(
        InputError, match=r"Cannot download qm9.zip .* put it at .*/raw/"
    ):
        prepare_qm9(tmp_path)
    assert not (tmp_path / TABLE).exists()


def second(rows, text):
    return [rows[0], text, *rows[2:]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"csv": lambda rows: rows[:-1]}, "has 12 molecules .* has 11"),
        ({"sdf": lambda records: records[:-1]}, "has 11 molecules .* has 12"),
        (
            {"sdf": lambda records: [records[1], records[0], *records[2:]]},
            "record 1 is 'gdb_2', .* has 'gdb_1'",
        ),
        (
            {"csv": lambda rows: second(rows, rows[1].replace("gdb_2", "gdb_3"))},
            "line 3: 'gdb_3' stands where upstream has 'gdb_2'",
        ),
        ({"csv": lambda rows: second(rows, "gdb_2,1,2")}, "csv, line 3"),
        (
            {"csv": lambda rows: second(rows, re.sub(r",[^,]*", ",x", rows[1]))},
            "csv, line 3: .*'x'",
        ),
        (
            {"csv": lambda rows: second(rows, re.sub(r",[^,]*", ",nan", rows[1]))},
            "gdb_2 has no mu and .*uncharacterized.txt does not exclude it",
        ),
        ({"sdf": lambda r: second(r, r[1].replace(" N ", " Q "))}, "gdb_2"),
        ({"sdf": lambda r: second(r, "\n".join(r[1].split("\n")[:6]))}, "gdb_2"),
        (
            {
                "sdf": lambda r: second(
                    r,
                    re.sub(
                        r"\n +\S+ +\S+ +\S+ N",
                        "\n       nan       nan       nan N",
                        r[1],
                    ),
                )
            },
            "gdb_2",
        ),
        ({"excluded": (13,)}, "excludes molecules that .* does not have"),
        ({"excluded": ()}, "lists no molecules"),
    ],
)
def test_files_that_cannot_be_used_are_named(tmp_path, changes, message):
    folder = upstream(tmp_path / "raw", **changes)
    with pytest.raises(InputError, match=message):
        prepare_qm9(tmp_path, folder)
    assert not (tmp_path / TABLE).exists()


def test_placeholders_are_excluded_or_named(tmp_path):
    empty = {
        "sdf": lambda r: second(r, sdf_record("gdb_2", molecule("H2O")[:0])),
        "csv": lambda rows: second(rows, re.sub(r",[^,]*", ",nan", rows[1])),
    }
    folder = upstream(tmp_path / "a", **empty, excluded=(2,))
    assert len(read_source(source_from_file(folder))[0]) == 11
    folder = upstream(tmp_path / "b", sdf=empty["sdf"])
    with pytest.raises(InputError, match="gdb_2.*at least one atom"):
        read_source(source_from_file(folder))


def test_missing_files_are_named(files, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        source_from_file(tmp_path / "qm9.zip")
    with pytest.raises(InputError, match=r"must hold uncharacterized\.txt"):
        source_from_file(tmp_path)
    (tmp_path / "qm9.zip").write_text("not a zip")
    with pytest.raises(InputError, match=r"needs uncharacterized\.txt beside it"):
        source_from_file(tmp_path / "qm9.zip")
    (tmp_path / "uncharacterized.txt").write_text("  5  x\n")
    with pytest.raises(InputError, match=r"qm9\.zip cannot be read as a zip"):
        read_source(source_from_file(tmp_path / "qm9.zip"))
    with zipfile.ZipFile(tmp_path / "qm9.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(files / "gdb9.sdf.csv", "gdb9.sdf.csv")
    content = bytearray((tmp_path / "qm9.zip").read_bytes())
    content[100:130] = bytes(30)
    (tmp_path / "qm9.zip").write_bytes(content)
    with pytest.raises(InputError, match=r"qm9\.zip cannot be read as a zip"):
        read_source(source_from_file(tmp_path / "qm9.zip"))
    with zipfile.ZipFile(tmp_path / "qm9.zip", "w") as archive:
        archive.writestr("readme", "")
    with pytest.raises(InputError, match=r"does not contain gdb9\.sdf\.csv"):
        read_source(source_from_file(tmp_path / "qm9.zip"))
    wrong = replace(source_from_file(files), csv=files / "gdb9.sdf")
    with pytest.raises(InputError, match="no column 'mol_id'"):
        read_source(wrong)


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
