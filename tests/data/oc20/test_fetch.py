"""Unpacking OC20's archive: the LMDB files and nothing else, whole or not at all."""

import hashlib
import io
import tarfile

import pytest

from molflt.data.oc20.fetch import prepare_oc20
from molflt.errors import InputError


def write_archive(path, names):
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    return path


@pytest.fixture
def archive(tmp_path):
    names = [
        "is2res_train_val_test_lmdbs/data/is2re/10k/train/data.lmdb",
        "is2res_train_val_test_lmdbs/data/is2re/all/val_id/data.lmdb",
        "is2res_train_val_test_lmdbs/README",
        "../../outside/is2re/../data.lmdb",
        "../is2re/all/val_ood_ads/data.lmdb",
    ]
    return write_archive(tmp_path / "is2re.tar.gz", names)


def test_only_its_lmdb_files_are_unpacked_below_the_folder(archive, tmp_path):
    out = tmp_path / "deep" / "oc20"
    md5 = hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest()
    found = prepare_oc20(out, archive, md5)
    names = ["10k/train", "all/val_id", "all/val_ood_ads"]
    assert found == [out / "is2re" / name / "data.lmdb" for name in names]
    assert found[0].read_text().endswith("is2re/10k/train/data.lmdb")
    everything = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert everything == {archive, *found}


def test_another_archive_is_refused(archive, tmp_path):
    with pytest.raises(InputError, match="MD5"):
        prepare_oc20(tmp_path / "oc20", archive)
    assert not (tmp_path / "oc20").exists()


def test_a_cut_archive_leaves_no_part_of_a_file(archive, tmp_path):
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(archive.read_bytes()[:60])
    with pytest.raises(InputError, match=r"cut\.tar\.gz"):
        prepare_oc20(tmp_path / "oc20", cut, None)
    assert not list((tmp_path / "oc20").rglob("*.lmdb"))


def test_an_archive_without_lmdb_files_and_a_missing_one_are_named(tmp_path):
    empty = write_archive(tmp_path / "empty.tar.gz", ["README"])
    with pytest.raises(InputError, match="holds no"):
        prepare_oc20(tmp_path / "oc20", empty, None)
    with pytest.raises(InputError, match="does not exist"):
        prepare_oc20(tmp_path / "oc20", tmp_path / "nothing.tar.gz")
