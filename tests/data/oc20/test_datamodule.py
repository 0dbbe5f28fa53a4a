import numpy as np
import pytest
import torch

from molflt.data import OC20IS2RE
from molflt.data.lmdb.store import write_lmdb
from molflt.data.oc20.datamodule import (
    TEST_SPLITS,
    VAL_SPLITS,
    open_test_splits,
)
from molflt.data.oc20.dataset import (
    ADSORPTION_ENERGY,
    OCPDataset,
    ocp_graph,
    read_ocp_batch,
)
from molflt.data.statistics import fit_statistics
from molflt.errors import InputError
from tests.data.ocp_files import pyg1, pyg2, slab_fields, write_ocp

UNLABELLED = {"y_relaxed": ..., "pos_relaxed": ...}


def write_split(path, count=5, seed=0, layout=pyg2, **changes):
    path.parent.mkdir(parents=True, exist_ok=True)
    records = [layout(slab_fields(seed + i, **changes)) for i in range(count)]
    write_ocp(path, records)


@pytest.fixture
def root(tmp_path):
    write_split(tmp_path / "is2re/10k/train/data.lmdb", 11)
    write_split(tmp_path / "is2re/all/train/data.lmdb", 13, layout=pyg1)
    for seed, name in enumerate(VAL_SPLITS):
        write_split(tmp_path / f"is2re/all/{name}/data.lmdb", 3, 100 * seed)
    for seed, name in enumerate(TEST_SPLITS):
        path = tmp_path / f"is2re/all/{name}/data.lmdb"
        write_split(path, 2, 1000 * seed, **UNLABELLED)
    return tmp_path


def test_ocp_layout_gives_all_splits(root):
    data = OC20IS2RE(root, batch_size=4)
    data.setup("fit")
    assert data.targets == (ADSORPTION_ENERGY,)
    assert data.val_names == data.test_names == list(VAL_SPLITS)
    batches = list(data.train_dataloader())
    assert sum(batch.num_graphs for batch in batches) == 11
    assert batches[0].energy.dtype == torch.float64
    assert [len(x) for x in data.val.values()] == [3, 3, 3, 3]
    predicted = [batch for loader in data.predict_dataloader() for batch in loader]
    assert sum(batch.num_graphs for batch in predicted) == 8
    assert "energy" not in predicted[0]


@pytest.mark.parametrize("subset", ["10k", "all"])
def test_root_may_be_the_inner_folder(root, subset):
    data = OC20IS2RE(root / "is2re", subset=subset)
    data.setup()
    assert len(data.train) == {"10k": 11, "all": 13}[subset]
    assert data.in_memory == (subset == "10k")


def test_plain_layout_in_either_format(tmp_path):
    write_split(tmp_path / "source.lmdb", 7)
    graphs = list(OCPDataset(tmp_path / "source.lmdb"))
    write_lmdb(tmp_path / "train.lmdb", graphs, targets=[ADSORPTION_ENERGY])
    write_split(tmp_path / "val_id.lmdb", 3)
    data = OC20IS2RE(tmp_path, subset="100k")
    data.setup()
    assert len(data.train) == 7
    assert data.val_names == ["val_id"]
    assert data.train[2].energy == OCPDataset(tmp_path / "source.lmdb")[2].energy


def test_fields_become_a_periodic_graph(tmp_path):
    fields = slab_fields(3)
    write_ocp(tmp_path / "a.lmdb", [pyg2(fields)])
    graph = OCPDataset(tmp_path / "a.lmdb")[0]
    assert graph.sid == "1003"
    assert graph.pbc.all()
    assert graph.z.tolist() == fields["atomic_numbers"].long().tolist()
    assert graph.z.dtype == torch.int64
    assert torch.equal(graph.pos.float(), fields["pos"])
    assert torch.equal(graph.pos_relaxed.float(), fields["pos_relaxed"])
    assert torch.equal(graph.cell.float(), fields["cell"])
    assert graph.tags.tolist() == fields["tags"].tolist()
    assert graph.fixed.tolist() == fields["fixed"].bool().tolist()
    assert graph.energy.item() == fields["y_relaxed"]


@pytest.mark.parametrize("length", [True, False])
def test_length_is_optional_and_sid_falls_back_to_the_index(tmp_path, length):
    records = [pyg2(slab_fields(i, sid=...)) for i in range(3)]
    write_ocp(tmp_path / "a.lmdb", records, length=length)
    data = OCPDataset(tmp_path / "a.lmdb")
    assert [graph.sid for graph in data] == ["0", "1", "2"]


def test_sizes_are_counted_once(tmp_path):
    path = tmp_path / "train.lmdb"
    write_split(path, 5)
    sizes = OCPDataset(path).num_atoms
    assert sizes.tolist() == [len(graph.z) for graph in OCPDataset(path)]
    cache = tmp_path / "train.lmdb.natoms.npz"
    assert cache.exists()
    with np.load(cache) as stored:
        np.savez(cache, natoms=sizes + 1, version=stored["version"])
    assert OCPDataset(path).num_atoms.tolist() == (sizes + 1).tolist()
    write_split(tmp_path / "new.lmdb", 5, seed=50)
    (tmp_path / "new.lmdb").replace(path)
    assert OCPDataset(path).num_atoms.tolist() == [len(g.z) for g in OCPDataset(path)]
    cache.write_bytes(b"something else")
    assert len(OCPDataset(path).num_atoms) == 5


def test_a_folder_that_cannot_be_written_only_costs_the_cache(tmp_path, monkeypatch):
    write_split(tmp_path / "a.lmdb", 2)

    def refuse(path):
        raise InputError("read-only")

    monkeypatch.setattr("molflt.data.oc20.dataset.atomic_path", refuse)
    assert len(OCPDataset(tmp_path / "a.lmdb").num_atoms) == 2


def test_loader_processes_read_after_the_parent_did(tmp_path):
    write_split(tmp_path / "train.lmdb", 6)
    write_split(tmp_path / "val_id.lmdb", 1)
    data = OC20IS2RE(tmp_path, batch_size=2, num_workers=1, in_memory=False)
    data.setup()
    parent = sorted(graph.energy.item() for graph in data.train)
    energies = torch.cat([batch.energy for batch in data.train_dataloader()])
    assert sorted(energies.tolist()) == parent


def test_missing_labels_name_the_record(tmp_path):
    records = [pyg2(slab_fields(0)), pyg2(slab_fields(1, y_relaxed=...))]
    write_ocp(tmp_path / "train.lmdb", records)
    data = OCPDataset(tmp_path / "train.lmdb")
    with pytest.raises(InputError, match=r"train\.lmdb, record 1: the label y_relaxed"):
        data[1]
    write_split(tmp_path / "val_id.lmdb", 2)
    module = OC20IS2RE(tmp_path)
    module.setup()
    with pytest.raises(InputError, match="record 1"):
        fit_statistics(module.train, ADSORPTION_ENERGY)
    write_split(tmp_path / "val_id.lmdb.new", 2, **UNLABELLED)
    (tmp_path / "val_id.lmdb.new").replace(tmp_path / "val_id.lmdb")
    module = OC20IS2RE(tmp_path)
    module.setup()
    with pytest.raises(InputError, match=r"val_id\.lmdb, record 0: the label"):
        list(module.val_dataloader()[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pos": ...}, "the field pos is missing"),
        ({"natoms": 99}, "natoms is 99"),
        ({"pos": torch.full((6, 3), float("nan"))}, "is nan"),
        ({"y_relaxed": float("inf")}, "label 'energy' is inf"),
        ({"atomic_numbers": torch.tensor([1.5] * 6)}, "unknown species 1.5"),
        ({"cell": torch.zeros(1, 3, 3)}, "independent lattice vectors"),
        ({"tags": torch.full((6,), 5)}, "tag 5 is outside"),
        ({"pos": "text"}, "positions must be numbers"),
    ],
)
def test_bad_records_are_named(tmp_path, change, message):
    fields = slab_fields(1)
    assert fields["natoms"] == 6
    fields = {k: v for k, v in (fields | change).items() if v is not ...}
    write_ocp(tmp_path / "a.lmdb", [pyg2(slab_fields(0)), pyg2(fields)])
    with pytest.raises(InputError, match=rf"a\.lmdb, record 1: .*{message}"):
        OCPDataset(tmp_path / "a.lmdb")[1]


def test_missing_files_say_what_was_looked_for(tmp_path, root):
    with pytest.raises(InputError, match="No such folder"):
        OC20IS2RE(tmp_path / "no").setup()
    with pytest.raises(InputError, match=r"is2re/100k/train/data\.lmdb"):
        OC20IS2RE(root, subset="100k").setup()
    write_split(tmp_path / "bare/train.lmdb", 2)
    with pytest.raises(InputError, match="No validation set"):
        OC20IS2RE(tmp_path / "bare").setup()
    assert list(open_test_splits(root)) == list(TEST_SPLITS)
    assert open_test_splits(root, labelled=True) == {}


def test_genuine_systems_of_oc20(shared_data):
    graphs = list(read_ocp_batch(shared_data / "oc20" / "is2re_bs3.pt"))
    assert [graph.sid for graph in graphs] == ["2077917", "1302564", "1874170"]
    assert [len(graph.z) for graph in graphs] == [65, 172, 24]
    energies = [graph.energy.item() for graph in graphs]
    assert energies == pytest.approx([0.8710, 0.5880, -4.9180], abs=5e-5)
    for graph in graphs:
        assert set(graph.tags.tolist()) == {0, 1, 2}
        # Sub-surface atoms are held, the others move.
        assert torch.equal(graph.fixed, graph.tags == 0)
        moved = (graph.pos_relaxed - graph.pos).norm(dim=1)
        assert moved[graph.fixed].max() < 1e-3 < moved.max()


@pytest.mark.parametrize(
    ("name", "count"),
    [("emt/pyg1_20", 20), ("emt/val_ood_both", 56), ("oc20/not_oc20_pyg2_68", 68)],
)
def test_real_files_of_both_layouts(shared_data, name, count):
    data = OCPDataset(shared_data / f"{name}.lmdb")
    assert len(data) == count
    assert data.labelled
    for graph in data:
        assert graph.energy.isfinite()
        assert ("pos_relaxed" in graph) == name.startswith("emt")


NONSENSE = ("abc", 10**5000, ["a", "b"], [None], [], np.zeros(0), np.ones((2, 2, 2)))


@pytest.mark.parametrize("name", [*slab_fields()])
@pytest.mark.parametrize("value", NONSENSE, ids=range(len(NONSENSE)))
def test_fields_of_any_kind_are_used_or_refused(name, value):
    fields = {k: v for k, v in slab_fields().items() if k != "edge_index"}
    fields = {k: v.numpy() if torch.is_tensor(v) else v for k, v in fields.items()}
    ocp_graph(fields, 0, "a.lmdb, record 0")
    fields |= {name: value}
    unused = name in ("edge_index", "y_init")
    if unused or (name == "sid" and np.size(value) and not isinstance(value, int)):
        assert isinstance(ocp_graph(fields, 0, "a.lmdb, record 0").sid, str)
        return
    with pytest.raises(InputError, match=r"^a\.lmdb, record 0.{1,400}$"):
        ocp_graph(fields, 0, "a.lmdb, record 0")


@pytest.mark.parametrize("change", [{"natoms": "abc"}, {"natoms": np.zeros(0)}])
def test_sizes_that_cannot_be_read_name_the_record(tmp_path, change):
    write_ocp(tmp_path / "a.lmdb", [pyg2(slab_fields(**change))])
    with pytest.raises(InputError, match=r"a\.lmdb, record 0: its number of atoms"):
        _ = OCPDataset(tmp_path / "a.lmdb").num_atoms
