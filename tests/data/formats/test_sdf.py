"""SDF and MOL files: structures as written, each bad molecule by itself."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem.rdDepictor import Compute2DCoords
from rdkit.Chem.rdDistGeom import EmbedMolecule

from molflt.data.formats.sdf import iterate_sdf
from molflt.errors import InputError


def conformer(smiles, name=""):
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    EmbedMolecule(molecule, randomSeed=1)
    molecule.SetProp("_Name", name)
    return molecule


def write(path, molecules):
    with Chem.SDWriter(str(path)) as writer:
        for molecule in molecules:
            writer.write(molecule)


def test_molecules_are_read_as_they_are_written(tmp_path):
    molecules = [conformer("CCO", "ethanol"), conformer("[NH4+]")]
    write(tmp_path / "a.sdf", molecules)
    found = [atoms for _, atoms in iterate_sdf(tmp_path / "a.sdf")]
    for molecule, atoms in zip(molecules, found, strict=True):
        expected = molecule.GetConformer().GetPositions()
        np.testing.assert_allclose(atoms.positions, expected, atol=1e-4)
    assert found[0].get_chemical_formula() == "C2H6O"
    assert found[0].info == {"sid": "ethanol"}
    assert found[1].info == {"charge": 1}
    Chem.MolToMolFile(molecules[0], str(tmp_path / "a.mol"))
    ((_, single),) = iterate_sdf(tmp_path / "a.mol")
    assert single.get_chemical_formula() == "C2H6O"


def test_bad_molecules_do_not_hide_the_others(tmp_path):
    flat = Chem.MolFromSmiles("CCO")
    Compute2DCoords(flat)
    bare = Chem.RemoveHs(conformer("CCO"))
    path = tmp_path / "a.sdf"
    write(path, [flat, bare, conformer("O")])
    text = path.read_text()
    path.write_text(text + "\nbroken\n\n  9  9 junk V2000\n$$$$\n" + text)
    items = list(iterate_sdf(path))
    errors = [str(item) if isinstance(item, InputError) else "" for _, item in items]
    assert "molecule 0: its coordinates are a drawing" in errors[0]
    assert "molecule 1: 6 hydrogens are only implied" in errors[1]
    assert errors[2] == ""
    assert "molecule 3: RDKit cannot read it" in errors[3]
    assert errors[-1] == ""


def test_files_without_molecules(tmp_path):
    (tmp_path / "a.sdf").write_text("")
    for name in ("a.sdf", "no.sdf"):
        with pytest.raises(InputError, match=name):
            list(iterate_sdf(tmp_path / name))


def test_properties_go_to_info(tmp_path):
    ethanol = conformer("CCO", "ethanol")
    for name, value in (("gap", "7.5"), ("by", "Me"), ("forces", "1"), ("charge", "2")):
        ethanol.SetProp(name, value)
    write(tmp_path / "a.sdf", [ethanol] * 2)
    content = (tmp_path / "a.sdf").read_bytes().replace(b"Me", b"\xc5", 1)
    (tmp_path / "a.sdf").write_bytes(content)
    (_, first), (_, second) = iterate_sdf(tmp_path / "a.sdf")
    assert first.info == {"gap": 7.5, "charge": 2.0, "sid": "ethanol"}
    assert second.info == first.info | {"by": "Me"}


def test_unpaired_electrons_and_charges_are_those_of_the_atoms(tmp_path):
    molecules = [conformer("[CH3]"), conformer("[O][O]"), conformer("[NH4+]")]
    molecules[2].SetProp("charge", "0")
    write(tmp_path / "a.sdf", molecules)
    found = [atoms.info for _, atoms in iterate_sdf(tmp_path / "a.sdf")]
    assert found == [{"multiplicity": 2}, {"multiplicity": 3}, {"charge": 1}]
