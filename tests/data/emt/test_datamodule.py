"""The sample that ships with the repository, and the data module over it."""

import hashlib
import re
import shutil

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.data import chemical_symbols
from ase.formula import Formula

from molflt.data.emt import datamodule as emt
from molflt.data.emt.datamodule import EMTIS2RE
from molflt.data.emt.generate import SPLITS, split_plan
from molflt.data.emt.relax import FMAX, make_system, relaxed_gas
from molflt.data.emt.systems import ADSORBATES
from molflt.data.lmdb.store import LMDBDataset
from molflt.data.molecule import graph_to_atoms
from molflt.errors import InputError

FORMULA = {str(Formula(name).format("hill")): name for name in ADSORBATES}


@pytest.fixture(scope="module")
def sample():
    return EMTIS2RE()


def composition(graph):
    """Name of the adsorbate, and the metals of the slab."""
    symbols = np.array(chemical_symbols)[graph.z.numpy()]
    adsorbate = (graph.tags == 2).numpy()
    formula = Formula("".join(symbols[adsorbate])).format("hill")
    return FORMULA[str(formula)], set(symbols[~adsorbate])


def test_splits_and_sizes(sample):
    assert sample.val_names == sample.test_names == list(SPLITS[1:])
    assert len(sample.train) >= 2000
    assert all(len(split) >= 250 for split in sample.val.values())
    assert sample.train.num_atoms.max() < 60
    (spec,) = sample.targets
    assert (spec.name, spec.unit, spec.kind) == ("energy", "eV", "relaxed")
    assert "OC20" in spec.reference


@pytest.mark.parametrize("split", SPLITS)
def test_what_is_held_out_is_held_out(sample, split):
    sample.setup()
    plan = split_plan(split)
    data = LMDBDataset(sample.root / f"{split}.lmdb")
    assert data.metadata["split"] == split
    seen, sids = set(), set()
    for graph in data:
        adsorbate, metals = composition(graph)
        assert adsorbate in plan.adsorbates
        assert (len(metals) == 1 and plan.pure) or metals in map(set, plan.pairs)
        assert abs(float(graph.energy)) <= 10
        seen.add(adsorbate)
        sids.add(graph.sid)
    assert seen == set(plan.adsorbates)
    assert len(sids) == len(data)


@pytest.mark.parametrize(("split", "index"), [("train", 0), ("val_ood_both", 7)])
def test_labels_are_differences_of_relaxed_emt_energies(sample, split, index):
    """Three energies by ASE's own EMT, at geometries that are minima of it."""
    graph = LMDBDataset(sample.root / f"{split}.lmdb")[index]
    system = graph_to_atoms(graph)
    system.positions = graph.pos_relaxed.numpy()
    slab = graph_to_atoms(graph)[(graph.tags < 2).numpy()]
    gas = relaxed_gas(composition(graph)[0])[0].copy()
    energies = []
    for atoms, fmax in ((system, FMAX), (slab, FMAX), (gas, 0.005)):
        atoms.calc = EMT()
        forces = np.linalg.norm(atoms.get_forces(), axis=1)
        assert forces.max() < fmax + 2e-3  # positions are rounded
        energies.append(atoms.get_potential_energy())
    total, clean, isolated = energies
    assert float(graph.energy) == pytest.approx(total - clean - isolated, abs=1e-3)


@pytest.mark.parametrize("split", ["train", "val_ood_cat"])
def test_this_version_generates_the_sample(sample, split):
    data = LMDBDataset(sample.root / f"{split}.lmdb")
    stored = data[1]
    attempt = int(stored.sid.rpartition("-")[2])
    seed = data.metadata["seed"]
    system = make_system(split_plan(split), SPLITS.index(split), attempt, seed)
    assert np.array_equal(system.initial.numbers, stored.z)
    # rounding differs between machines and may move a site's coordinates a little
    assert np.abs(system.initial.positions - stored.pos.numpy()).max() < 1e-3
    assert system.energy == pytest.approx(float(stored.energy), abs=5e-3)


def test_checksums_are_those_of_the_readme(sample, repository):
    readme = (repository / "data" / "README.md").read_text()
    listed = dict(re.findall(r"`(\w+\.lmdb)`.*`([0-9a-f]{64})`", readme))
    assert set(listed) == {f"{split}.lmdb" for split in SPLITS}
    for name, checksum in listed.items():
        content = (sample.root / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == checksum


def test_a_batch_has_labels_tags_and_periodicity(sample):
    data = EMTIS2RE(batch_size=8, max_train=20)
    data.setup()
    batch = next(iter(data.train_dataloader()))
    assert batch.num_graphs == 8
    assert batch.energy.shape == (8,)
    assert batch.pbc.tolist() == [[True, True, False]] * 8
    assert set(batch.tags.tolist()) == {0, 1, 2}


def test_without_the_sample_the_command_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(emt, "SAMPLE", tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"molflt data emt OUT"):
        EMTIS2RE()


def test_missing_folder_file_and_frames_are_named(sample, tmp_path):
    with pytest.raises(InputError, match="No such folder: .*absent"):
        EMTIS2RE(tmp_path / "absent")
    with pytest.raises(InputError, match=r"No such file: .*train\.lmdb"):
        EMTIS2RE(tmp_path)
    shutil.copy(sample.root / "train.lmdb", tmp_path)
    with pytest.raises(InputError, match=r"val_id\.lmdb"):
        EMTIS2RE(tmp_path).setup()
    with pytest.raises(InputError, match="--frames"):
        EMTIS2RE(tmp_path, frames=True)
