import json

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import fcc111, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from molflt.cli import main
from molflt.data.check.examine import examine
from molflt.data.check.unit_hints import all_electron_energy, energy_hint
from molflt.data.labels.rules import LabelRules
from molflt.data.lmdb.store import LMDBDataset, write_lmdb
from molflt.data.molecule import make_graph
from molflt.data.source import data_files
from molflt.errors import InputError
from molflt.targets import TargetSpec
from molflt.units import BOHR, HARTREE, KCAL_PER_MOL
from tests.data.ocp_files import pyg2, slab_fields, write_ocp

# Total energies in hartree, B3LYP/6-31G(2df,p): QM9's molecules 1 to 5.
TOTAL = {"CH4": -40.478930, "NH3": -56.525887, "H2O": -76.404702, "C2H2": -77.308427}


def molecules(scale_energy=HARTREE, scale_length=1.0, forces=0.3):
    rng = np.random.default_rng(0)
    for name, energy in TOTAL.items():
        atoms = molecule(name)
        atoms.rattle(0.02, rng=rng)
        atoms.positions *= scale_length
        atoms.calc = SinglePointCalculator(
            atoms,
            energy=energy * scale_energy,
            forces=rng.normal(size=(len(atoms), 3)) * forces,
        )
        yield atoms


def report(tmp_path, frames, **options):
    ase.io.write(tmp_path / "a.traj", list(frames))
    return examine(tmp_path / "a.traj", **options)


def test_a_good_file_is_described_without_complaint(tmp_path):
    found = report(tmp_path, molecules())
    assert found.num_structures == 4
    assert (found.num_defects, found.warnings) == (0, [])
    assert (found.atoms.minimum, found.atoms.maximum) == (3, 5)
    assert found.elements == {"H": 4, "C": 2, "N": 1, "O": 1}
    assert found.pbc == {"F F F": 4}
    assert found.labels["energy"].minimum == pytest.approx(-77.308427 * HARTREE)
    rows = dict(found.rows())
    assert rows["structures"] == "4"
    assert rows["tags"] == "none"
    json.dumps(found.plain())


def test_slabs_and_emt_energies_raise_no_suspicion(tmp_path):
    slab = fcc111("Cu", (2, 2, 3), vacuum=6.0)
    slab.calc = EMT()
    slab.get_forces()
    found = report(tmp_path, [slab])
    assert found.warnings == []
    assert found.tags == {0: 8, 1: 4}
    assert found.pbc == {"T T F": 1}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scale_energy": 1.0}, "looks like hartree"),
        ({"scale_energy": HARTREE / KCAL_PER_MOL}, "looks like kcal/mol"),
        ({"scale_energy": 200.0}, "another unit"),
        ({"scale_length": 1 / BOHR}, "bohr"),
        ({"scale_length": 0.1}, "nm"),
        ({"forces": 25.0}, "kcal/mol/Å"),
    ],
)
def test_other_units_are_suspected(tmp_path, options, words):
    (warning,) = report(tmp_path, molecules(**options)).warnings
    assert words in warning


def test_binding_energies_are_not_mistaken():
    graphs = [
        make_graph([1] * n, np.eye(3)[:n] * 3, targets={"energy": -4.5 * n})
        for n in (2, 3)
    ]
    assert energy_hint(graphs, "energy") is None


@pytest.mark.parametrize(
    ("z", "exact"), [(6, -37.8450), (8, -75.0674), (14, -289.359), (29, -1640.9)]
)
def test_free_atoms_are_estimated_within_one_percent(z, exact):
    """C, O, Si: exact nonrelativistic energies; Cu: Hartree-Fock with correlation."""
    assert all_electron_energy(np.array([z])) == pytest.approx(exact, rel=0.01)


def test_copies_and_repeated_ids_are_reported(tmp_path):
    graphs = [
        make_graph([1, 1], [[0, 0, x], [0, 0, x + 0.74]], sid=sid, targets={"e": 1.0})
        for sid, x in (("a", 0.0), ("b", 5.0), ("a", 0.3))
    ]
    write_lmdb(tmp_path / "a.lmdb", graphs, targets=[TargetSpec("e")])
    found = examine(tmp_path / "a.lmdb")
    assert found.format == "LMDB of molflt"
    assert found.num_defects == 0
    assert "1 ids come more than once, such as 'a'" in found.warnings[0]
    assert "2 structures are copies" in found.warnings[1]


def test_all_bad_records_are_listed_and_reading_goes_on(tmp_path):
    nan = Atoms("H", [[0, 0, np.nan]], info={"energy": 1.0})
    twice = Atoms("H2", np.zeros((2, 3)), info={"energy": 1.0})
    bare = Atoms("H")
    good = [Atoms("H", info={"energy": 1.0}) for _ in range(2)]
    frames = [good[0], nan, twice, bare, good[1]]
    ase.io.write(tmp_path / "a.xyz", frames, format="extxyz")
    found = examine(tmp_path / "a.xyz")
    assert found.num_structures == 3
    assert found.num_defects == 3
    assert "frame 1: positions of atom 0 is nan" in found.defects[0]
    assert "frame 2: atoms 0 (H) and 1 (H)" in found.defects[1]
    assert (
        "2 have energy (the first is record 0); 1 have none (the first is record 3)"
        in found.defects[2]
    )
    found = examine(tmp_path / "a.xyz", LabelRules(energy_key="energy"))
    assert "frame 3: no 'energy'" in found.defects[2]


def test_a_file_cut_in_the_middle_is_a_defect(tmp_path):
    ase.io.write(tmp_path / "a.xyz", list(molecules()), format="extxyz")
    text = (tmp_path / "a.xyz").read_text()
    (tmp_path / "a.xyz").write_text(text[: len(text) * 3 // 5])
    found = examine(tmp_path / "a.xyz")
    assert found.num_structures < 4
    assert "ASE cannot read it" in found.defects[0]


def test_files_without_labels_are_told(tmp_path):
    ase.io.write(tmp_path / "a.cif", fcc111("Cu", (1, 1, 2), vacuum=4.0, periodic=True))
    found = examine(tmp_path / "a.cif")
    assert found.num_structures == found.num_defects == 1
    assert "no structure has an energy" in found.defects[0]
    unlabelled = pyg2(slab_fields(0, y_relaxed=..., pos_relaxed=...))
    write_ocp(tmp_path / "test.lmdb", [unlabelled])
    found = examine(tmp_path / "test.lmdb")
    assert found.num_defects == 0
    assert "no labels" in found.warnings[0]


def test_forces_without_an_energy_cannot_train(tmp_path):
    frames = list(molecules())
    for atoms in frames:
        atoms.calc = SinglePointCalculator(atoms, forces=atoms.get_forces())
        atoms.info["dft"] = -1.0
    ase.io.write(tmp_path / "a.extxyz", frames)
    found = examine(tmp_path / "a.extxyz")
    assert found.labels.keys() == {"forces"}
    assert found.num_defects == 1
    assert (
        "no structure has an energy; the keys of the first are: dft, forces"
        in (found.defects[0])
    )
    rules = LabelRules(energy_key="dft")
    assert examine(tmp_path / "a.extxyz", rules).num_defects == 0


def test_ocp_files_are_checked_record_by_record(tmp_path):
    fields = [slab_fields(i) for i in range(4)]
    fields[2]["natoms"] = 1
    write_ocp(tmp_path / "a.lmdb", [pyg2(record) for record in fields])
    found = examine(tmp_path / "a.lmdb")
    assert found.format == "LMDB of OCP"
    assert (found.num_structures, found.num_defects) == (3, 1)
    assert "record 2: natoms is 1" in found.defects[0]


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        examine(tmp_path / "no.lmdb")
    (tmp_path / "text.lmdb").write_text("x" * 100)
    with pytest.raises(InputError, match="not an LMDB"):
        examine(tmp_path / "text.lmdb")


def test_folders_stand_for_their_lmdb_files(tmp_path):
    with pytest.raises(InputError, match="without LMDB files"):
        data_files(tmp_path)
    with pytest.raises(InputError, match="No such"):
        data_files(tmp_path / "no")
    (tmp_path / "b").mkdir()
    for name in ("b/x.lmdb", "a.lmdb"):
        (tmp_path / name).touch()
    names = [str(path.relative_to(tmp_path)) for path in data_files(tmp_path)]
    assert names == ["a.lmdb", "b/x.lmdb"]
    assert data_files(tmp_path / "a.lmdb") == [tmp_path / "a.lmdb"]


def test_the_readers_agree_on_the_number_of_structures(tmp_path):
    write_ocp(tmp_path / "a.lmdb", [pyg2(slab_fields(i)) for i in range(4)])
    assert examine(tmp_path / "a.lmdb").num_structures == 4
    graphs = [make_graph([1], [[0, 0, 0]], targets={"e": 1.0})] * 3
    write_lmdb(tmp_path / "b.lmdb", graphs, targets=[TargetSpec("e")])
    assert examine(tmp_path / "b.lmdb").num_structures == 3
    assert len(LMDBDataset(tmp_path / "b.lmdb")) == 3


def test_records_of_molflt_are_checked_like_new_ones(tmp_path):
    graph = make_graph([1, 1], [[0, 0, 0], [0, 0, 1.0]], targets={"energy": -1.0})
    twice = graph.clone()
    twice.pos = torch.zeros_like(graph.pos)
    path = tmp_path / "a.lmdb"
    write_lmdb(path, [graph, twice], targets=[TargetSpec("energy")])
    found = examine(path)
    assert (found.num_structures, found.num_defects) == (1, 1)
    assert "a.lmdb, record 1: atoms 0 (H) and 1 (H) are at one" in found.defects[0]


def test_a_file_that_cannot_be_opened_does_not_hide_the_others(tmp_path, capsys):
    (tmp_path / "a.lmdb").touch()
    graph = make_graph([1, 1], [[0, 0, 0], [0, 0, 1.0]], targets={"energy": -1.0})
    write_lmdb(tmp_path / "b.lmdb", [graph], targets=[TargetSpec("energy")])
    assert main(["data", "check", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert "a.lmdb is empty" in printed.err
    assert "b.lmdb: 1 structures, no defects" in printed.out
