"""Tables of SMILES and numbers: what becomes a structure, and what is told."""

import ase.io
import numpy as np
import pytest

from molflt.data import AtomsFiles
from molflt.data.formats.smiles import smiles_to_atoms
from molflt.data.formats.smiles_table import iterate_table
from molflt.data.formats.structure_files import iterate_structures
from molflt.data.labels.electrons import refuse_charge_and_spin
from molflt.errors import InputError
from molflt.targets import TargetSpec

TABLE = """\ufeffName, SMILES ,logp,charged,empty,
ethanol,CCO,-0.31,no,,0
,[NH4+],-1e1,yes,NaN,1
"a, b",C,1.09,no,3,2
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "a.csv").write_text(TABLE, encoding="utf-8")
    return tmp_path / "a.csv"


def test_numbers_and_names_go_to_info(path):
    found = [atoms for _, atoms in iterate_table(path)]
    assert [atoms.info["sid"] for atoms in found] == ["ethanol", "[NH4+]", "a, b"]
    assert [atoms.info["logp"] for atoms in found] == [-0.31, -10.0, 1.09]
    assert found[1].info["charge"] == 1
    assert [atoms.info.get("empty") for atoms in found] == [None, None, 3.0]
    assert found[0].info["charged"] == "no"
    assert "" not in found[0].info
    expected = smiles_to_atoms("CCO")
    np.testing.assert_array_equal(found[0].positions, expected.positions)


def test_charges_of_columns_are_seen_unless_the_smiles_says_more(path):
    path.write_text("smiles,charge,Multiplicity\nC,1,\n[NH4+],0,\nCC,0,3\n")
    one, two, three = (atoms for _, atoms in iterate_table(path))
    assert (one.info["charge"], two.info["charge"]) == (1.0, 1)
    refuse_charge_and_spin(smiles_to_atoms("CC"))
    for atoms in (one, two, three):
        with pytest.raises(InputError, match="has the charge 1|has the multiplicity 3"):
            refuse_charge_and_spin(atoms)


def test_a_table_is_a_training_set(path):
    logp = TargetSpec("logp", unit="1", kind="property", extensive=False)
    data = AtomsFiles(path, targets=[logp], val_fraction=0.4)
    data.setup()
    labels = {graph.sid: graph.logp.item() for graph in data.train}
    labels |= {graph.sid: graph.logp.item() for graph in data.val["val"]}
    assert labels == {"ethanol": -0.31, "[NH4+]": -10.0, "a, b": 1.09}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("x,C1CC,1,,,", "line 3: 'C1CC' is not a valid SMILES"),
        ("x,,1,,,", "line 3: there is no SMILES"),
        ("x,C,1", "line 3: the row has more or fewer cells"),
        ("x,C,1,,,,,", "line 3: the row has more or fewer cells"),
    ],
)
def test_a_bad_row_is_told_and_the_next_is_read(path, row, words):
    lines = TABLE.splitlines()
    path.write_text("\n".join([*lines[:2], row, *lines[2:]]), encoding="utf-8")
    _, (_, bad), *rest = iterate_table(path)
    assert words in str(bad)
    assert len(rest) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no column 'smiles'; its columns are: none"),
        (b"a,b\n1,2\n", "no column 'smiles'; its columns are: a, b"),
        (b"smiles,y\n", "has no molecules"),
        (b"smiles,y, y\nC,1,2\n", "has the column 'y' twice"),
        (b"smiles,y\n\xff\xfe,1\n", "is not a table of SMILES"),
        (b'smiles,y\n"C,1\n', "is not a table of SMILES"),
    ],
)
def test_a_file_that_is_no_table(tmp_path, content, words):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match=words):
        list(iterate_table(tmp_path / "a.csv"))
    with pytest.raises(InputError, match="No such file"):
        list(iterate_table(tmp_path / "b.csv"))


def test_what_is_read_is_written_and_read_again(path, tmp_path):
    """Whatever columns are called."""
    names = ["Lattice", "Properties", "virial", "forces", "", "a b", "x"]
    row = ",".join("1" for _ in names)
    text = f"smiles,{','.join(names)}\nC,{row}\n"
    path.write_text(text)
    ((_, atoms),) = iterate_table(path)
    ase.io.write(tmp_path / "a.extxyz", atoms)
    again = ase.io.read(tmp_path / "a.extxyz")
    assert again.info == atoms.info == {"smiles": "C", "a b": 1, "x": 1, "sid": "C"}


def test_a_label_that_is_no_number_is_no_missing_one(path):
    path.write_text('smiles,logp,gap\nC,1,2\nCC,"1,5",3\n')
    specs = [TargetSpec(n, kind="property") for n in ("logp", "gap")]
    with pytest.raises(InputError, match="line 3: 'logp' is not one number, but '1,5'"):
        AtomsFiles(path, targets=specs, missing_labels=True).setup()


def test_lines_of_blanks_are_no_molecules(path):
    path.write_text("smiles,y\r\nC,1\r\n\r\n \r\n , \r\nX,2\r\n")
    (_, first), (where, bad) = iterate_table(path)
    assert first.info["y"] == 1
    assert where.endswith("line 6")
    assert "'X' is not a valid SMILES" in str(bad)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_tables_of_other_separators(path, separator):
    path = path.with_suffix(".tsv")
    path.write_text(separator.join(["smiles", '"a, b, c"', "y"]) + "\n")
    with path.open("a") as file:
        file.write(separator.join(["C", "-0.5", "2"]) + "\n")
    ((_, atoms),) = iterate_structures(path)
    assert (atoms.info["a, b, c"], atoms.info["y"]) == (-0.5, 2)
