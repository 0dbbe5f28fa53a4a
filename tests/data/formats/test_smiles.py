import numpy as np
import pytest
from rdkit.Chem.rdDistGeom import EmbedMolecule

from molflt.data.formats import smiles as smiles_module
from molflt.data.formats.smiles import iterate_smiles, smiles_to_atoms
from molflt.errors import InputError


def test_conformers_are_seeded_and_have_hydrogens():
    first, second = smiles_to_atoms("CCO"), smiles_to_atoms("CCO")
    assert first.get_chemical_formula() == "C2H6O"
    assert np.array_equal(first.positions, second.positions)
    assert not first.pbc.any()
    # MMFF94 brings bonds near their lengths.
    assert first.get_distance(0, 1) == pytest.approx(1.52, abs=0.03)


def test_random_coordinates_help_where_there_is_no_conformer(monkeypatch):
    def embed(molecule, options):  # as for chains of 70 atoms, which take seconds
        return EmbedMolecule(molecule, options) if options.useRandomCoords else -1

    expected = smiles_to_atoms("C" * 12)
    monkeypatch.setattr(smiles_module, "EmbedMolecule", embed)
    first, second = smiles_to_atoms("C" * 12), smiles_to_atoms("C" * 12)
    assert np.array_equal(first.positions, second.positions)
    assert not np.allclose(first.positions, expected.positions)
    lengths = [first.get_distance(i, i + 1) for i in range(11)]
    assert np.allclose(lengths, 1.53, atol=0.03)
    monkeypatch.setattr(smiles_module, "EmbedMolecule", lambda *_: -1)
    with pytest.raises(InputError, match="RDKit finds no conformer of 'CC'"):
        smiles_to_atoms("CC")


@pytest.mark.parametrize("smiles", ["C(", "Q", ""])
def test_bad_smiles_are_named(smiles):
    with pytest.raises(InputError, match="a.smi: .* is not a valid SMILES"):
        smiles_to_atoms(smiles, where="a.smi")


def test_lines_with_names_comments_and_gaps(tmp_path):
    path = tmp_path / "a.smi"
    path.write_text("# head\nO water\n\nC\n")
    (_, water), (where, methane) = iterate_smiles(path)
    assert water.info["sid"] == "water"
    assert methane.get_chemical_formula() == "CH4"
    assert methane.info["sid"] == "C"
    assert where == f"{path}, molecule 1"


def test_a_byte_order_mark_is_no_part_of_a_smiles(tmp_path):
    path = tmp_path / "a.smi"
    path.write_text("O water\n", encoding="utf-8-sig")
    ((_, water),) = iterate_smiles(path)
    assert water.info["sid"] == "water"


def test_files_without_smiles_are_refused(tmp_path):
    empty, binary = tmp_path / "empty.smi", tmp_path / "binary.smi"
    empty.touch()
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (empty, binary, tmp_path / "missing.smi"):
        with pytest.raises(InputError, match=path.name):
            list(iterate_smiles(path))


@pytest.mark.parametrize("smiles", ["CCO.O", "[Na+].[Cl-]", "O.O"])
def test_several_molecules_have_no_places(smiles):
    with pytest.raises(InputError, match="is 2 molecules, whose places"):
        smiles_to_atoms(smiles)


def test_an_atom_of_no_element_is_named_and_the_others_are_read(tmp_path, capfd):
    path = tmp_path / "a.smi"
    path.write_text("C*\nCO\n")
    (where, error), (_, methanol) = iterate_smiles(path)
    assert str(error) == f"{where}: 'C*' has an atom of no element (*)."
    assert len(methanol) == 6
    assert not capfd.readouterr().err  # RDKit says nothing besides
