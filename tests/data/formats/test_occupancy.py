"""Crystals whose sites are shared: refused wherever they come from."""

import ase.io
import pytest
from ase.build import bulk

from molflt.cli import main
from molflt.data.formats.occupancy import refuse_disorder
from molflt.errors import InputError

CIF = """data_x
_cell_length_a 3.8
_cell_length_b 3.8
_cell_length_c 3.8
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
loop_
_atom_site_type_symbol
_atom_site_occupancy
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
"""


@pytest.mark.parametrize(
    ("sites", "words"),
    [
        ("Cu 0.5 0 0 0\nPd 0.5 0 0 0\n", "site 0 is Cu 0.5, Pd 0.5"),
        ("Cu 0.25 0 0 0\n", "site 0 is Cu 0.25"),
        ("Cu 1 0 0 0\n", ""),
    ],
)
def test_sites_of_a_cif(sites, words, tmp_path, capsys):
    path = tmp_path / "a.cif"
    path.write_text(CIF + sites)
    atoms = ase.io.read(path)
    if words:
        with pytest.raises(InputError, match=f"here is disordered: {words}"):
            refuse_disorder(atoms, "here")
    else:
        refuse_disorder(atoms)
    code = main(["predict", "emt-forces", str(path)])
    assert code == (1 if words else 0)
    told = capsys.readouterr().err
    assert ("a.cif, frame 0 is disordered" in told) == bool(words)


def test_structures_without_such_notes_pass():
    atoms = bulk("Cu")
    refuse_disorder(atoms)
    for other in ("of a site", {"0": {}}, {"0": 1.0}):  # somebody else's
        atoms.info["occupancy"] = other
        refuse_disorder(atoms)


@pytest.mark.parametrize(
    ("species", "words"),
    [
        ({"Cu": "1.0"}, ""),
        ({"Cu": 1.0, "Pd": 0.0}, ""),
        ({"Cu": 0.0}, "site 0 is Cu 0;"),
        ({"Cu": "0.5", "Pd": 0.5}, "site 0 is Cu 0.5, Pd 0.5;"),
        (
            {"Cu": "half"},
            r"here has info\['occupancy'\] 'half' at site 0, which is no n",
        ),
        ({"Cu": None}, "None at site 0, which is no number"),
    ],
)
def test_shares_as_texts_and_of_nothing(species, words):
    atoms = bulk("Cu")
    atoms.info["occupancy"] = {"0": species}
    if not words:
        refuse_disorder(atoms, "here")
        return
    with pytest.raises(InputError, match=words):
        refuse_disorder(atoms, "here")


def test_training_data_are_refused_too(tmp_path, capsys):
    path = tmp_path / "a.cif"
    path.write_text(CIF + "Cu 0.5 0 0 0\n")
    words = ["data", "convert", str(path), str(tmp_path / "a.lmdb"), "--target"]
    assert main([*words, "density:g/cm3:mean"]) == 1
    assert "a.cif, frame 0 is disordered" in capsys.readouterr().err
