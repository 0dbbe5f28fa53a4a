"""Stress as a label: from files to graphs, databases and batches."""

import ase.io
import numpy as np
import pytest
import torch
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from torch_geometric.data import Batch

from molflt.cli import main
from molflt.data import AtomsFiles
from molflt.data.crystals import stress_is_known
from molflt.data.labels.frame_labels import read_stress
from molflt.data.labels.labelled_frames import iterate_graphs
from molflt.data.labels.rules import LabelRules
from molflt.data.lmdb.store import LMDBDataset, write_lmdb
from molflt.data.molecule import (
    graph_to_atoms,
    is_missing,
    make_graph,
    target_names,
)
from molflt.errors import InputError, UsageError
from molflt.targets import TargetSpec


def crystal(seed=0):
    atoms = bulk("Cu") * (2, 1, 1)
    atoms.set_cell(atoms.cell @ [[1, 0.03, 0], [0.01, 1.02, 0], [0, 0.02, 0.97]], True)
    atoms.rattle(0.05, seed=seed)
    atoms.calc = EMT()
    atoms.get_stress()
    return atoms


def test_the_label_is_the_derivative_by_strain():
    """The convention that models are trained in: ASE's, positive under tension."""
    atoms = crystal()
    found = read_stress(atoms)
    for i, j in ((0, 0), (1, 1), (1, 2)):
        energies = []
        for step in (1e-4, -1e-4):
            strain = np.zeros((3, 3))
            strain[i, j] += step / 2
            strain[j, i] += step / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell @ (np.eye(3) + strain), scale_atoms=True)
            strained.calc = EMT()
            energies.append(strained.get_potential_energy())
        slope = (energies[0] - energies[1]) / 2e-4 / atoms.get_volume()
        assert found[i, j] == pytest.approx(slope, rel=1e-4)


@pytest.mark.parametrize("shape", ["voigt", "matrix", "flat"])
def test_every_layout(shape):
    atoms = crystal()
    expected = read_stress(atoms)
    layouts = {
        "voigt": atoms.get_stress(),
        "matrix": atoms.get_stress(voigt=False),
        "flat": atoms.get_stress(voigt=False).ravel(),
    }
    atoms.calc = None
    atoms.info["stress"] = layouts[shape]
    assert np.array_equal(read_stress(atoms), expected)


@pytest.mark.parametrize("suffix", ["extxyz", "traj"])
def test_files_and_databases_keep_it(tmp_path, suffix):
    frames = [crystal(seed) for seed in range(4)]
    path = tmp_path / f"a.{suffix}"
    ase.io.write(path, frames)
    graphs = list(iterate_graphs(path, LabelRules(stress=True)))
    for graph, atoms in zip(graphs, frames, strict=True):
        assert graph.stress.shape == (1, 3, 3)
        np.testing.assert_allclose(graph.stress[0], read_stress(atoms), atol=1e-8)
        assert target_names(graph) == ["energy"]
    assert "stress" not in next(iterate_graphs(path))
    assert Batch.from_data_list(graphs).stress.shape == (4, 3, 3)
    own = tmp_path / "own.lmdb"
    write_lmdb(own, graphs, targets=[TargetSpec("energy")])
    assert torch.equal(LMDBDataset(own)[2].stress, graphs[2].stress)
    again = graph_to_atoms(graphs[1])
    np.testing.assert_array_equal(read_stress(again), graphs[1].stress[0])
    made = tmp_path / "made.lmdb"
    assert main(["data", "convert", str(path), str(made), "--stress"]) == 0
    assert torch.equal(LMDBDataset(made)[3].stress, graphs[3].stress)
    held_out = tmp_path / f"b.{suffix}"
    ase.io.write(held_out, frames[:1])
    data = AtomsFiles(path, held_out, stress=True)
    data.setup()
    assert torch.equal(data.train[0].stress, graphs[0].stress)


@pytest.mark.parametrize("name", ["stress", "virial"])
def test_other_names_and_virials(tmp_path, name):
    """As the training sets of other force fields have them."""
    atoms = crystal()
    expected = read_stress(atoms)
    atoms.info[f"REF_{name}"] = expected * (
        1 if name == "stress" else -atoms.get_volume()
    )
    energy, atoms.calc = atoms.get_potential_energy(), None
    atoms.info["REF_energy"] = energy
    ase.io.write(tmp_path / "a.extxyz", atoms)
    words = ["--energy-key", "REF_energy", f"--{name}-key", f"REF_{name}"]
    out = tmp_path / "a.lmdb"
    assert main(["data", "convert", str(tmp_path / "a.extxyz"), str(out), *words]) == 0
    graph = LMDBDataset(out)[0]
    np.testing.assert_allclose(graph.stress[0], expected, atol=1e-7)
    keys = {f"{name}_key": f"REF_{name}", "energy_key": "REF_energy"}
    data = AtomsFiles([tmp_path / "a.extxyz"] * 2, **keys, val_fraction=0.5)
    data.setup()
    np.testing.assert_array_equal(data.train[0].stress, graph.stress)


def test_a_virial_needs_a_volume():
    atoms = crystal()
    atoms.info["virial"] = np.eye(3)
    atoms.pbc = False
    with pytest.raises(
        InputError, match="frame 3: 'virial' is not zero, and without p"
    ):
        read_stress(atoms, "frame 3", virial_key="virial")
    with pytest.raises(UsageError, match="stress_key or from virial_key"):
        LabelRules(stress_key="a", virial_key="b")


def test_what_is_no_stress_is_refused(tmp_path):
    atoms = crystal()
    ase.io.write(tmp_path / "a.extxyz", [atoms, atoms])
    bare = atoms.copy()
    with pytest.raises(InputError, match="frame 7: no 'stress'; the keys there are: "):
        read_stress(bare, "frame 7")
    bare.info["stress"] = np.zeros(5)
    with pytest.raises(InputError, match=r"'stress' has shape \(5,\)"):
        read_stress(bare)
    for bad, message in (
        (np.zeros(6), "shape"),
        (np.full((1, 3, 3), np.nan), "finite"),
    ):
        with pytest.raises(InputError, match=f"stress.*{message}"):
            make_graph([29], [[0, 0, 0]], stress=bad)


def open_frames():
    """A molecule, one in a box, and a slab, with energies and forces alone."""
    boxed = molecule("H2O")
    boxed.center(vacuum=3.0)
    frames = [molecule("CO"), boxed, fcc111("Cu", (1, 1, 2), vacuum=4.0)]
    for index, atoms in enumerate(frames):
        atoms.info = {"energy": -1.0 - index}
        atoms.arrays["forces"] = np.zeros((len(atoms), 3))
    return frames


@pytest.mark.parametrize("what", ["nothing", "zeros", "nan", "virial"])
def test_what_is_no_crystal_needs_no_stress(tmp_path, capsys, what):
    frames = open_frames()
    for atoms in frames:
        if what in ("zeros", "nan"):
            atoms.info["stress"] = np.full(6, 0.0 if what == "zeros" else np.nan)
    frames[1:1] = [crystal(0), crystal(1)]
    words = ["--stress"]
    if what == "virial":
        words = ["--virial-key", "w"]
        for atoms in frames[1:3]:
            atoms.info["w"] = -atoms.get_stress(voigt=False) * atoms.get_volume()
    path, one, two = (tmp_path / name for name in ("a.extxyz", "a.lmdb", "b.lmdb"))
    ase.io.write(path, frames)
    assert main(["data", "check", str(path), *words]) == 0
    assert main(["data", "convert", str(path), str(one), *words]) == 0
    assert main(["data", "convert", str(one), str(two)]) == 0
    assert main(["data", "check", str(two)]) == 0
    said = capsys.readouterr().out
    assert "label stress" in said
    assert "nan" not in said
    option = {"virial_key": "w"} if what == "virial" else {"stress": True}
    ase.io.write(tmp_path / "v.extxyz", frames)
    data = AtomsFiles(path, tmp_path / "v.extxyz", **option)
    data.setup()
    for graphs in (data.train, LMDBDataset(one), LMDBDataset(two)):
        missing = [is_missing(graph, "stress") for graph in graphs]
        assert missing == [True, False, False, True, True]
        expected = read_stress(frames[1])
        np.testing.assert_allclose(graphs[1].stress[0], expected, atol=1e-7)
        assert Batch.from_data_list(list(graphs)).stress.shape == (5, 3, 3)
        atoms = [graph_to_atoms(graph) for graph in graphs]
        assert ["stress" not in one.info for one in atoms] == missing


def test_a_crystal_among_them_still_needs_one(tmp_path):
    frames = open_frames()
    frames[2].pbc = True
    ase.io.write(tmp_path / "a.extxyz", [crystal(), *frames])
    data = AtomsFiles([tmp_path / "a.extxyz"], stress=True)
    with pytest.raises(InputError, match="frame 3: no 'stress'; the keys there are"):
        data.setup()


def test_a_stress_of_a_slab_is_one_if_it_is_told(tmp_path):
    frames = open_frames()
    frames[2].info["stress"] = np.array([0.01, 0.02, 1e-3, 0, 0, 0])
    ase.io.write(tmp_path / "a.extxyz", [crystal(), *frames])
    data = AtomsFiles([tmp_path / "a.extxyz"] * 2, stress=True, val_fraction=0.5)
    data.setup()
    batch = Batch.from_data_list(list(data.train))
    assert stress_is_known(batch).tolist() == [True, False, False, True]
    np.testing.assert_allclose(batch.stress[3], np.diag([0.01, 0.02, 1e-3]))


@pytest.mark.parametrize("index", [0, 1])
def test_a_stress_of_what_is_not_periodic_is_refused(tmp_path, index, capsys):
    """As EMT gives to clusters in a box: the volume is that of the box."""
    frames = open_frames()
    frames[index].info["stress"] = np.array([0, 0, 1e-3, 0, 0, 0])
    path = tmp_path / "a.extxyz"
    ase.io.write(path, [crystal(), *frames])
    message = f"frame {index + 1}: 'stress' is not zero, and without periodic direct"
    assert main(["data", "convert", str(path), str(tmp_path / "a.lmdb"), "--stress"])
    assert message in capsys.readouterr().err
    with pytest.raises(InputError, match=message):
        AtomsFiles(path, stress=True).setup()
    AtomsFiles(path).setup()  # where stress is not asked for
