"""Sets of graphs made of other sets."""

import pytest
from ase.build import molecule

from molflt.data.dataset import GraphDataset, GraphList, GraphSubset, GraphUnion
from molflt.data.molecule import atoms_to_graph


def graphs(*names):
    return GraphList([atoms_to_graph(molecule(name), sid=name) for name in names])


def test_a_data_set_without_its_sizes_is_refused_when_it_is_made():
    class Unsized(GraphDataset):
        def __len__(self):
            return 0

        def __getitem__(self, index):
            raise IndexError(index)

    with pytest.raises(TypeError, match="num_atoms"):
        Unsized()


def test_a_union_is_one_set_after_the_other():
    small, large = graphs("H2O", "CH4", "NH3"), graphs("C2H6", "C6H6")
    union = GraphUnion([GraphSubset(small, [2, 0]), graphs(), large])
    names = ["NH3", "H2O", "C2H6", "C6H6"]
    assert [graph.sid for graph in union] == names
    assert union.num_atoms.tolist() == [4, 3, 8, 12]
    assert len(union) == 4
    assert union[-4].sid == "NH3"
    for index in (4, -5):
        with pytest.raises(IndexError, match="of 4"):
            union[index]
