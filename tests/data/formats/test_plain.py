"""What ASE keeps of a structure beside its atoms."""

import ase.io
import pytest
from ase.build import molecule
from ase.db import connect

from molflt.data.formats.plain import id_of, plain
from molflt.data.formats.structure_files import iterate_structures
from molflt.data.molecule import atoms_to_graph


@pytest.fixture
def row(tmp_path):
    """A structure read from a database, with an id among its key-value pairs."""
    with connect(tmp_path / "a.db", append=False) as database:
        database.write(molecule("H2O"), key_value_pairs={"sid": "random7", "gap": 7.0})
    ((_, atoms),) = iterate_structures(tmp_path / "a.db")
    return atoms


def test_an_id_is_found_wherever_it_stands(row):
    water = molecule("H2O")
    assert id_of(water) == atoms_to_graph(water).sid == ""
    water.info["sid"] = 12
    assert id_of(water) == atoms_to_graph(water).sid == "12"
    assert id_of(row) == atoms_to_graph(row).sid == "random7"
    row.info["sid"] = "mine"
    assert id_of(row) == "mine"
    assert atoms_to_graph(row, sid="other").sid == "other"


def test_pairs_of_a_row_stand_in_info(row, tmp_path):
    assert plain(row).info.items() >= {"sid": "random7", "gap": 7.0}.items()
    ase.io.write(tmp_path / "a.extxyz", plain(row))
    assert ase.io.read(tmp_path / "a.extxyz").info["gap"] == 7.0
