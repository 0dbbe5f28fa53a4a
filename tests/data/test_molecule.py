import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111
from ase.constraints import FixAtoms
from torch_geometric.data import Batch

from molflt.data.molecule import atoms_to_graph, graph_to_atoms, make_graph
from molflt.errors import InputError

WATER = [[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]]


def test_fields_have_the_documented_shapes_and_types():
    graph = make_graph([8, 1, 1], WATER, targets={"energy": -14.0}, sid="w")
    expected = {
        "z": ((3,), torch.int64),
        "pos": ((3, 3), torch.float64),
        "cell": ((1, 3, 3), torch.float64),
        "pbc": ((1, 3), torch.bool),
        "tags": ((3,), torch.int64),
        "fixed": ((3,), torch.bool),
        "energy": ((1,), torch.float64),
    }
    for name, (shape, dtype) in expected.items():
        assert tuple(graph[name].shape) == shape, name
        assert graph[name].dtype == dtype, name
    assert graph.sid == "w"
    assert set(graph.keys()) == {*expected, "sid"}
    assert (graph.tags == -1).all()


def test_batch_concatenates_each_field():
    one = make_graph([8, 1, 1], WATER, targets={"energy": 1.0}, sid="a")
    two = make_graph([2], [[0, 0, 0]], targets={"energy": 2.0}, sid="b")
    batch = Batch.from_data_list([one, two])
    assert batch.cell.shape == (2, 3, 3)
    assert batch.pbc.shape == (2, 3)
    assert batch.energy.tolist() == [1.0, 2.0]
    assert batch.batch.tolist() == [0, 0, 0, 1]
    assert batch.sid == ["a", "b"]


def test_atoms_survive_the_round_trip():
    slab = fcc111("Cu", (2, 2, 3), vacuum=8.0)
    slab.set_constraint(FixAtoms(indices=[0, 1]))
    graph = atoms_to_graph(
        slab, tags="ase", sid="x", targets={"energy": -3.0}, forces=slab.positions
    )
    back = graph_to_atoms(graph)
    np.testing.assert_array_equal(back.positions, slab.positions)
    np.testing.assert_array_equal(back.cell.array, slab.cell.array)
    assert back.pbc.tolist() == slab.pbc.tolist()
    assert back.constraints[0].index.tolist() == [0, 1]
    assert back.info == {"sid": "x", "energy": -3.0}
    again = atoms_to_graph(back, tags="oc20", targets={"energy": -3.0})
    for name in ("z", "pos", "cell", "pbc", "tags", "fixed", "energy"):
        assert torch.equal(again[name], graph[name]), name


def test_the_graph_owns_its_memory():
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.7]])
    graph = atoms_to_graph(atoms)
    atoms.positions += 1
    assert graph.pos[0].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pos": np.full((3, 3), np.nan)}, "positions of atom 0 is nan"),
        ({"pos": [*WATER[:2], [0, np.inf, 0]]}, "positions of atom 2 is inf"),
        ({"pos": WATER[:2]}, r"shape \(3, 3\), received \(2, 3\)"),
        ({"z": [8, 0, 1]}, "atom 1 has the unknown species 0"),
        ({"z": [8, 1, 119]}, "atom 2 has the unknown species 119"),
        ({"z": [8, 1, 1.5]}, "unknown species 1.5"),
        ({"z": [], "pos": np.zeros((0, 3))}, "at least one atom"),
        ({"pos": [WATER[0], WATER[1], WATER[1]]}, r"atoms 1 \(H\) and 2 \(H\) are at"),
        ({"pbc": True}, "needs independent lattice vectors"),
        (
            {"pbc": [True, False, False], "cell": np.diag([0, 5, 5])},
            "needs independent",
        ),
        ({"pbc": True, "cell": [[5, 0, 0], [5, 0, 0], [0, 0, 5]]}, "independent"),
        ({"cell": np.ones(7)}, r"cell must have shape \(3, 3\), received \(7,\)"),
        ({"cell": "abc"}, "cell must be numbers"),
        ({"fixed": ["a", "b", "c"]}, "fixed must be flags"),
        ({"tags": [0, 1, 3]}, "tag 3 is outside"),
        ({"targets": {"energy": np.nan}}, "label 'energy' is nan"),
        ({"targets": {"pos": 1.0}}, "cannot be the name of a target"),
        ({"targets": {"edge_index": 1.0}}, "cannot be the name of a target"),
        ({"forces": np.zeros((2, 3))}, "forces must have shape"),
    ],
)
def test_bad_input_is_refused_by_name(change, message):
    arguments = {"z": [8, 1, 1], "pos": WATER} | change
    with pytest.raises(InputError, match=r"^water\.xyz, frame 4: .*" + message):
        make_graph(**arguments, where="water.xyz, frame 4")


@pytest.mark.parametrize("image", [[1, 0, 0], [0, -1, 0], [0, 0, 3], [1, 1, 1]])
def test_an_atom_on_the_image_of_another_is_found(image):
    cell = np.array([[4.0, 0, 0], [1.5, 3.5, 0], [-1.0, 0.7, 6.0]])
    first = np.array([1e-5, -1e-5, 0.3])
    second = first + np.array(image) @ cell + [2e-4, -3e-4, 1e-4]
    with pytest.raises(InputError, match="at one place"):
        make_graph([1, 1], [first, second], cell=cell, pbc=True)
    make_graph([1, 1], [first, second], cell=cell, pbc=False)


def test_an_image_along_an_open_direction_is_no_image():
    cell = np.diag([4.0, 4.0, 6.0])
    pos = [[0, 0, 0], [0, 0, 6.0]]
    make_graph([1, 1], pos, cell=cell, pbc=[True, True, False])


@pytest.mark.parametrize("pbc", [False, True])
def test_many_atoms_at_one_place_need_little_memory_and_time(pbc):
    z, pos, cell = np.ones(30_000), np.zeros((30_000, 3)), 9 * np.eye(3)
    with pytest.raises(InputError, match="at one place"):
        make_graph(z, pos, cell=cell, pbc=pbc)


def test_the_last_of_many_atoms_is_compared():
    pos = np.arange(5000)[:, None] * np.ones(3)
    make_graph(np.ones(5000), pos)
    pos[4999] = pos[17] + 5e-4
    with pytest.raises(InputError, match=r"atoms 17 \(H\) and 4999 \(H\)"):
        make_graph(np.ones(5000), pos)


def test_dense_crystals_are_fine():
    crystal = bulk("Fe", cubic=True) * (3, 3, 3)
    assert len(atoms_to_graph(crystal).z) == len(crystal)
    assert len(atoms_to_graph(bulk("Cu")).z) == 1
