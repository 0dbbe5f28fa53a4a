import errno
import itertools
import os
from dataclasses import replace

import lmdb
import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.data import chemical_symbols
from ase.formula import Formula
from ase.optimize import FIRE

from molflt.data.emt import generate as emt_generate
from molflt.data.emt import relax as emt_relax
from molflt.data.emt.datamodule import EMTIS2RE
from molflt.data.emt.generate import SPLITS, generate, split_plan
from molflt.data.emt.relax import make_system, relax, relaxed_gas
from molflt.data.emt.systems import ADSORBATES, PAIRS, build_slab, draw_plan, on_grid
from molflt.data.lmdb.store import LMDBDataset
from molflt.data.molecule import graph_to_atoms
from molflt.errors import InputError, UsageError

SEED = 3


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """A few systems of each split, with frames."""
    out = tmp_path_factory.mktemp("emt") / "set"
    counts = generate(out, 5, SEED, frames=True, progress=False, num_val=2)
    return out, counts


def composition(graph):
    """Hill formula of the adsorbate, and the set of metals."""
    symbols = np.array(chemical_symbols)[graph.z.numpy()]
    adsorbate = (graph.tags == 2).numpy()
    return Formula("".join(symbols[adsorbate])).format("hill"), set(symbols[~adsorbate])


def total_energy(atoms):
    atoms = atoms.copy()
    atoms.calc = EMT()
    return atoms.get_potential_energy()


def test_files_counts_and_metadata(generated):
    out, counts = generated
    names = {f"{k}{s}.lmdb" for k, s in itertools.product(("", "frames_"), SPLITS)}
    assert {path.name for path in out.iterdir()} == names
    assert out.stat().st_mode & 0o077 == 0o055 & ~umask()
    for split in SPLITS:
        data = LMDBDataset(out / f"{split}.lmdb")
        assert len(data) == counts[split]["kept"] == (5 if split == "train" else 2)
        assert data.metadata["split"] == split
        assert data.metadata["held_out_adsorbates"] == ["NO", "HCN", "NH2", "CH2O"]
        assert len({graph.sid for graph in data}) == len(data)


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_graphs_are_initial_structures_with_oc20_tags(generated):
    for graph in LMDBDataset(generated[0] / "train.lmdb"):
        adsorbate = graph.tags == 2
        assert graph.pbc.tolist() == [[True, True, False]]
        assert 1 <= int(adsorbate.sum()) <= 5
        assert set(graph.tags.tolist()) == {0, 1, 2}
        assert not graph.fixed[graph.tags > 0].any()
        assert graph.fixed.any()
        moved = (graph.pos_relaxed - graph.pos).norm(dim=1)
        assert moved[graph.fixed].max() == 0
        assert moved[~graph.fixed].min() > 0
        assert abs(float(graph.energy)) <= 10


def test_the_target_is_the_difference_of_three_relaxed_energies(generated):
    """The definition anew, with ASE's EMT alone."""
    graph = LMDBDataset(generated[0] / "train.lmdb")[0]
    attempt = int(graph.sid.removeprefix("train-"))
    plan = split_plan("train")
    rng = np.random.default_rng(np.random.SeedSequence(SEED, spawn_key=(0, attempt)))
    name = plan.adsorbates[int(rng.integers(len(plan.adsorbates)))]
    slab = on_grid(build_slab(draw_plan(rng, plan.pairs, plan.pure), rng))
    slab.calc = EMT()
    FIRE(slab, logfile=None, maxstep=0.05, dtmax=0.5).run(fmax=emt_relax.FMAX)
    system = graph_to_atoms(graph)
    system.calc = EMT()
    assert composition(graph)[0] == Formula(name).format("hill")
    assert np.array_equal(system.numbers[: len(slab)], slab.numbers)
    assert np.abs(system.positions[: len(slab)] - slab.positions).max() < 1e-4
    FIRE(system, logfile=None, maxstep=0.05, dtmax=0.5).run(fmax=emt_relax.FMAX)
    parts = slab.get_potential_energy() + total_energy(relaxed_gas(name)[0])
    energy = system.get_potential_energy() - parts
    assert float(graph.energy) == pytest.approx(energy, abs=2e-3)


def test_frames_are_total_energies_with_forces_of_the_same_systems(generated):
    out, _ = generated
    for split in ("train", "val_ood_both"):
        frames = LMDBDataset(out / f"frames_{split}.lmdb")
        systems = {graph.sid: graph for graph in LMDBDataset(out / f"{split}.lmdb")}
        assert frames.targets[0].kind == "potential"
        seen = set()
        for frame in frames:
            sid = frame.sid.rpartition("-")[0]
            seen.add(sid)
            if frame.sid.endswith("-0"):
                assert (frame.pos == systems[sid].pos).all()
            last = frame
        assert seen == set(systems)
        assert (last.pos == systems[sid].pos_relaxed).all()
        atoms = graph_to_atoms(last)
        atoms.calc = EMT()
        assert float(last.energy) == pytest.approx(
            atoms.get_potential_energy(), abs=1e-4
        )
        forces = atoms.get_forces()
        assert np.abs(last.forces.numpy() - forces).max() < 1e-3
        free = ~systems[sid].fixed.numpy()
        assert np.linalg.norm(forces[free], axis=1).max() < 0.031
        assert not frames[0].fixed.any()
        assert (frames[0].tags == -1).all()


def test_data_module_reads_what_was_generated(generated):
    data = EMTIS2RE(generated[0], batch_size=4)
    assert data.val_names == data.test_names == list(SPLITS[1:])
    batch = next(iter(data.train_dataloader()))
    assert batch.num_graphs == 4
    frames = EMTIS2RE(generated[0], frames=True)
    assert frames.targets[0].kind == "potential"
    assert frames.targets[0].reference != data.targets[0].reference


def test_held_out_adsorbates_and_pairs_are_never_trained_on():
    plans = {name: split_plan(name) for name in SPLITS}
    train = plans["train"]
    for name, plan in plans.items():
        new_ads, new_cat = "ads" in name, "cat" in name
        if "both" in name:
            new_ads = new_cat = True
        assert set(plan.adsorbates).isdisjoint(train.adsorbates) == new_ads
        assert set(plan.pairs).isdisjoint(train.pairs) == new_cat
        assert (plan.pure == 0) == new_cat
    assert {*train.adsorbates, *plans["val_ood_ads"].adsorbates} == set(ADSORBATES)
    assert {*train.pairs, *plans["val_ood_cat"].pairs} == set(PAIRS)


def check_compositions(folder):
    for name in SPLITS:
        plan = split_plan(name)
        adsorbates = {Formula(a).format("hill") for a in plan.adsorbates}
        for graph in LMDBDataset(folder / f"{name}.lmdb"):
            adsorbate, metals = composition(graph)
            assert adsorbate in adsorbates
            assert (len(metals) == 1 and plan.pure) or metals in map(set, plan.pairs)


def test_generated_compositions_are_those_of_their_split(generated):
    check_compositions(generated[0])


def test_the_same_systems_for_any_number_of_workers(generated, tmp_path):
    generate(tmp_path / "two", 3, SEED, workers=2, progress=False, num_val=1)
    for split in SPLITS:
        one = LMDBDataset(generated[0] / f"{split}.lmdb")
        two = LMDBDataset(tmp_path / "two" / f"{split}.lmdb")
        assert len(two) == (3 if split == "train" else 1)
        for left, right in zip(one, two, strict=False):  # fewer in `two`
            assert left.sid == right.sid
            assert (left.pos == right.pos).all()
            assert (left.energy == right.energy).all()


def test_the_seed_and_the_attempt_decide():
    split = split_plan("train")
    first = make_system(split, 0, 1, SEED)
    again = make_system(split, 0, 1, SEED)
    assert first.energy == again.energy
    for other in (make_system(split, 0, 2, SEED), make_system(split, 0, 1, SEED + 1)):
        assert other.initial.positions.shape != first.initial.positions.shape or (
            np.abs(other.initial.positions - first.initial.positions).max() > 0.01
        )


def cheap(monkeypatch, drop):
    """Replace relaxations by one stored system; `drop(attempt)` says why to drop."""
    system = make_system(split_plan("train"), 0, 0, SEED)

    def fake(split, split_index, attempt, seed, frames=False):
        sid = f"{split.name}-{attempt}"
        return replace(system, sid=sid, dropped=drop(attempt))

    monkeypatch.setattr(emt_generate, "make_system", fake)


def test_dropped_systems_are_replaced_and_counted(monkeypatch, tmp_path):
    cheap(monkeypatch, lambda k: {1: "desorbed", 2: "not converged"}.get(k % 4, ""))
    counts = generate(tmp_path / "set", 8, 0, progress=False, num_val=1)
    assert counts["train"]["kept"] == 8
    assert counts["train"]["desorbed"] == counts["train"]["not converged"] == 4
    assert counts["val_id"] == {"kept": 1}
    data = LMDBDataset(tmp_path / "set" / "train.lmdb")
    assert len(data) == 8
    assert data.metadata["dropped"] == {"desorbed": 4, "not converged": 4}
    assert "train-1" not in {graph.sid for graph in data}


def test_faults_are_recognised():
    system = make_system(split_plan("train"), 0, 0, SEED)
    final = relax(system.initial)
    adsorbate = system.initial.get_tags() == 2
    fault = emt_relax._fault

    def moved(atoms, shift):
        changed = final.atoms.copy()
        changed.positions[atoms] += shift
        return replace(final, atoms=changed)

    assert fault(system.initial, final, system.energy) == ""
    assert "converged" in fault(system.initial, replace(final, converged=False), -1.0)
    for energy in (10.5, -10.5, float("nan"), float("inf")):
        assert "10 eV" in fault(system.initial, final, energy)
    assert fault(system.initial, moved(adsorbate, (0, 0, 6)), -1.0) == "desorbed"
    assert fault(system.initial, moved([20], (0, 1.5, 0)), -1.0) == "slab rebuilt"


@pytest.mark.parametrize("where", ["start", "train", "last split", "rename"])
def test_a_full_disk_leaves_nothing(monkeypatch, tmp_path, where):
    cheap(monkeypatch, lambda k: "")
    full = OSError(errno.ENOSPC, "No space left on device")

    def fail(*args, **kwargs):
        raise full

    if where == "start":
        monkeypatch.setattr(emt_generate.tempfile, "mkdtemp", fail)
    elif where == "train":
        monkeypatch.setattr(lmdb, "open", fail)
    elif where == "rename":
        monkeypatch.setattr(emt_generate.Path, "rename", fail)
    else:
        write = emt_generate.write_lmdb

        def write_but_the_last(path, *args, **kwargs):
            return (fail if "both" in path.name else write)(path, *args, **kwargs)

        monkeypatch.setattr(emt_generate, "write_lmdb", write_but_the_last)
    with pytest.raises(InputError, match=r"No space left on device"):
        generate(tmp_path / "set", 2, 0, progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("frames", [False, True])
def test_ctrl_c_leaves_nothing(monkeypatch, tmp_path, frames):
    def interrupt(attempt):
        if attempt == 3:
            raise KeyboardInterrupt
        return ""

    cheap(monkeypatch, interrupt)
    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "set", 5, 0, progress=False, frames=frames)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="not an empty folder"):
        generate(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    "options", [{"num": 0}, {"seed": -1}, {"workers": 0}, {"num_val": 0}]
)
def test_counts_out_of_range(tmp_path, options):
    with pytest.raises(UsageError, match=str(next(iter(options.values())))):
        generate(tmp_path / "set", **({"num": 2} | options))
