import io
import zipfile

import numpy as np
import pytest

from molflt.data.npz import read_npz
from molflt.errors import InputError


def npy(shape):
    """An array's file that claims a shape and holds ten numbers."""
    buffer = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + bytes(80)


@pytest.mark.parametrize("shape", [(10**13,), (11,), (2**62, 2**62)])
def test_shapes_beyond_the_file_are_refused(tmp_path, shape):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", npy(shape))
    with pytest.raises(InputError, match=r"a\.npz is not a split"):
        read_npz(tmp_path / "a.npz", ["a"], "a split")


@pytest.mark.parametrize(("place", "value"), [(6, 1), (8, 99)])
def test_encrypted_and_unknown_compression_are_refused(tmp_path, place, value):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", npy((10,)))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    directory = content.index(b"PK\x01\x02")
    content[place] = content[directory + place + 2] = value
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npz is not a split"):
        read_npz(tmp_path / "a.npz", ["a"], "a split")
