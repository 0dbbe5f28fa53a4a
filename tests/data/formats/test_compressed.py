import bz2
import gzip
import lzma

import pytest
from ase.build import molecule
from rdkit import Chem

from molflt.data.formats.smiles import smiles_to_atoms
from molflt.data.formats.structure_files import iterate_structures
from molflt.errors import InputError

PACK = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def sdf():
    water = Chem.AddHs(Chem.MolFromSmiles("O"))
    conformer = Chem.Conformer(3)
    for index, place in enumerate(smiles_to_atoms("O").positions):
        conformer.SetAtomPosition(index, place.tolist())
    conformer.Set3D(True)
    water.AddConformer(conformer)
    return Chem.MolToMolBlock(water) + "$$$$\n"


FILES = {".smi": lambda: "O\n", ".csv": lambda: "smiles\nO\n", ".sdf": sdf}


@pytest.mark.parametrize("end", PACK)
@pytest.mark.parametrize("kind", FILES)
def test_compressed_files_are_read_as_others(kind, end, tmp_path):
    text = FILES[kind]().encode()
    plain, packed = tmp_path / f"a{kind}", tmp_path / f"b{kind}{end}"
    plain.write_bytes(text)
    packed.write_bytes(PACK[end](text))
    ((_, one),), ((_, two),) = iterate_structures(plain), iterate_structures(packed)
    assert one == two
    assert sorted(one.symbols) == sorted(molecule("H2O").symbols)
    packed.write_bytes(PACK[end](text)[:-9])
    with pytest.raises(InputError, match=packed.name):
        list(iterate_structures(packed))
    packed.write_bytes(text)
    with pytest.raises(InputError, match=packed.name):
        list(iterate_structures(packed))
