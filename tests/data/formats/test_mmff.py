"""Geometries of the force field MMFF94: of molecules, and of the whole of QM9."""

import numpy as np
import pytest
import torch
from ase.build import molecule
from scipy.spatial.transform import Rotation

from molflt.data.formats.mmff import mmff_positions
from molflt.data.formats.smiles import smiles_to_atoms
from molflt.data.qm9 import mmff as qm9_mmff
from molflt.data.qm9.datamodule import MMFF_FILE, QM9, TABLE
from molflt.data.qm9.mmff import rmsd
from molflt.errors import InputError, UsageError
from tests.data.qm9_files import upstream


@pytest.fixture
def root(tmp_path):
    return upstream(tmp_path / "qm9")


def lengths(pos):
    return np.sort(np.linalg.norm(pos[:, None] - pos, axis=2), axis=None)


def test_the_minimum_is_that_of_a_conformer_of_the_smiles():
    """However the molecule is turned and moved, if it has one conformer."""
    atoms = molecule("CH3OH")
    expected = lengths(smiles_to_atoms("CO").positions)
    for seed in range(2):
        atoms.rattle(0.03, seed=seed)
        atoms.rotate(50, (1, 2, 3))
        found = mmff_positions(atoms.numbers, atoms.positions)
        assert lengths(found) == pytest.approx(expected, abs=2e-3)
    assert np.abs(lengths(atoms.positions) - expected).max() > 0.01


def test_distances_moved_do_not_depend_on_the_frame():
    atoms = molecule("CH3CH2OH")
    turned = atoms.copy()
    turned.rotate(70, (1, 2, 3))
    turned.translate((4, -2, 1))
    assert rmsd(atoms.positions, turned.positions) == pytest.approx(0, abs=1e-7)
    rng = np.random.default_rng(0)
    moved = turned.copy()
    moved.positions += 0.1 * rng.normal(size=(len(atoms), 3))
    _, best = Rotation.align_vectors(
        *(each - each.mean(axis=0) for each in (atoms.positions, moved.positions))
    )
    found = rmsd(atoms.positions, moved.positions)
    assert found == pytest.approx(best / np.sqrt(len(atoms)))
    mirrored = atoms.positions * [1, 1, -1]
    mirrored[0, 2] += 1.0  # not its own mirror image
    atoms.positions[0, 2] -= 1.0
    assert rmsd(atoms.positions, mirrored) > 0.1


def test_geometries_that_are_far_away_are_left_out(root, monkeypatch):
    data = QM9(root, "u0", "random:0", 11, 0, geometry="mmff")
    data.setup()
    assert len(data.train) > 5
    monkeypatch.setattr(qm9_mmff, "FARTHEST", 0.005)
    again = QM9(root, "u0", "random:0", 11, 0, geometry="mmff")
    again.setup()
    assert len(again.train) < len(data.train)


@pytest.mark.parametrize("name", ["CO", "H2"], ids=["no bonds", "no parameters"])
def test_molecules_without_a_minimum_are_told(name):
    atoms = molecule(name)
    before = atoms.positions.copy()
    assert mmff_positions(atoms.numbers, atoms.positions) is None
    assert np.array_equal(atoms.positions, before)


def test_models_may_be_trained_on_both_geometries(root):
    sizes = ("random:0", 6, 3)
    data = QM9(root, "u0", *sizes, geometry="both")
    data.prepare_data()
    assert (root / TABLE).with_name(MMFF_FILE).exists()
    own, moved = (QM9(root, "u0", *sizes, geometry=name) for name in ("dft", "mmff"))
    assert data.val_names == ["val", "val_mmff"]
    assert data.test_names == ["test", "test_mmff"]
    assert own.val_names == moved.val_names == ["val"]
    for part in ("train", "val", "test"):
        if part == "train":
            sets = [data.train, own.train, moved.train]
            both = list(sets[0])
        else:
            both = [*getattr(data, part)[part], *getattr(data, part)[f"{part}_mmff"]]
            sets = [both, getattr(own, part)[part], getattr(moved, part)[part]]
        expected = [*sets[1], *sets[2]]
        assert [g.sid for g in both] == [g.sid for g in expected]
        for graph, other in zip(both, expected, strict=True):
            assert torch.equal(graph.pos, other.pos)
            assert graph.pos.dtype == torch.float64
            assert graph.u0 == other.u0
        places = {graph.sid: graph for graph in sets[1]}
        for graph in sets[2]:
            difference = lengths(graph.pos.numpy()) - lengths(
                places[graph.sid].pos.numpy()
            )
            assert 1e-4 < np.abs(difference).max() < 0.5


def test_molecules_without_a_geometry_are_left_out(root):
    """MMFF94 has no carbon monoxide."""
    sizes = ("random:0", 11, 0)
    found = {}
    for geometry in ("dft", "mmff"):
        data = QM9(root, "u0", *sizes, geometry=geometry)
        data.setup()
        found[geometry] = [graph.sid for graph in data.train]
    missing = set(found["dft"]) - set(found["mmff"])
    assert "gdb_12" in missing
    assert [sid for sid in found["dft"] if sid not in missing] == found["mmff"]


def test_the_file_is_made_once_and_anew_for_other_molecules(root):
    path = (root / TABLE).with_name(MMFF_FILE)
    QM9(root, geometry="mmff").prepare_data()
    made = path.stat().st_mtime_ns
    QM9(root, geometry="mmff").prepare_data()
    assert path.stat().st_mtime_ns == made
    upstream(root, excluded=(1, 2))
    QM9(root, geometry="mmff").prepare_data()
    assert path.stat().st_mtime_ns != made


def test_a_damaged_file_is_named(root):
    path = (root / TABLE).with_name(MMFF_FILE)
    QM9(root).prepare_data()
    for content in (b"no tensors", (root / TABLE).read_bytes()):
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"{MMFF_FILE}.*remove it"):
            QM9(root, geometry="mmff").prepare_data()


def test_other_geometries_are_refused():
    with pytest.raises(UsageError, match="dft, mmff or both, not 'uff'"):
        QM9("qm9", geometry="uff")
