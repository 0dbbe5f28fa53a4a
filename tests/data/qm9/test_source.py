"""Upstream's files are found, and those that cannot be used are named."""

import re
import zipfile
from dataclasses import replace

import pytest
from ase.build import molecule

from molflt.data.qm9.datamodule import TABLE, prepare_qm9
from molflt.data.qm9.source import find_source, read_source, source_from_file
from molflt.errors import InputError
from tests.data.qm9_files import sdf_record, upstream


def test_files_are_found_in_the_layout_of_pyg(tmp_path, monkeypatch):
    upstream(tmp_path / "raw")
    assert find_source(tmp_path).sdf == tmp_path / "raw" / "gdb9.sdf"
    prepare_qm9(tmp_path)
    # Without upstream's files the packed molecules are enough.
    for file in (tmp_path / "raw").iterdir():
        file.unlink()
    assert prepare_qm9(tmp_path) == tmp_path / TABLE


def test_nothing_to_download_from_is_one_sentence(tmp_path, monkeypatch):
    gone = ("http://127.0.0.1:9/qm9.zip",)
    monkeypatch.setattr("molflt.data.qm9.source.ZIP_URLS", gone)
    with pytest.raises(
        InputError, match=r"Cannot download qm9.zip .* put it at .*/raw/"
    ):
        prepare_qm9(tmp_path)
    assert not (tmp_path / TABLE).exists()


def second(rows, text):
    return [rows[0], text, *rows[2:]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"csv": lambda rows: rows[:-1]}, "has 12 molecules .* has 11"),
        ({"sdf": lambda records: records[:-1]}, "has 11 molecules .* has 12"),
        (
            {"sdf": lambda records: [records[1], records[0], *records[2:]]},
            "record 1 is 'gdb_2', .* has 'gdb_1'",
        ),
        (
            {"csv": lambda rows: second(rows, rows[1].replace("gdb_2", "gdb_3"))},
            "line 3: 'gdb_3' stands where upstream has 'gdb_2'",
        ),
        ({"csv": lambda rows: second(rows, "gdb_2,1,2")}, "csv, line 3"),
        (
            {"csv": lambda rows: second(rows, re.sub(r",[^,]*", ",x", rows[1]))},
            "csv, line 3: .*'x'",
        ),
        (
            {"csv": lambda rows: second(rows, re.sub(r",[^,]*", ",nan", rows[1]))},
            "gdb_2 has no mu and .*uncharacterized.txt does not exclude it",
        ),
        ({"sdf": lambda r: second(r, r[1].replace(" N ", " Q "))}, "gdb_2"),
        ({"sdf": lambda r: second(r, "\n".join(r[1].split("\n")[:6]))}, "gdb_2"),
        (
            {
                "sdf": lambda r: second(
                    r,
                    re.sub(
                        r"\n +\S+ +\S+ +\S+ N",
                        "\n       nan       nan       nan N",
                        r[1],
                    ),
                )
            },
            "gdb_2",
        ),
        ({"excluded": (13,)}, "excludes molecules that .* does not have"),
        ({"excluded": ()}, "lists no molecules"),
    ],
)
def test_files_that_cannot_be_used_are_named(tmp_path, changes, message):
    folder = upstream(tmp_path / "raw", **changes)
    with pytest.raises(InputError, match=message):
        prepare_qm9(tmp_path, folder)
    assert not (tmp_path / TABLE).exists()


def test_placeholders_are_excluded_or_named(tmp_path):
    empty = {
        "sdf": lambda r: second(r, sdf_record("gdb_2", molecule("H2O")[:0])),
        "csv": lambda rows: second(rows, re.sub(r",[^,]*", ",nan", rows[1])),
    }
    folder = upstream(tmp_path / "a", **empty, excluded=(2,))
    assert len(read_source(source_from_file(folder))[0]) == 11
    folder = upstream(tmp_path / "b", sdf=empty["sdf"])
    with pytest.raises(InputError, match="gdb_2.*at least one atom"):
        read_source(source_from_file(folder))


def test_missing_files_are_named(files, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        source_from_file(tmp_path / "qm9.zip")
    with pytest.raises(InputError, match=r"must hold uncharacterized\.txt"):
        source_from_file(tmp_path)
    (tmp_path / "qm9.zip").write_text("not a zip")
    with pytest.raises(InputError, match=r"needs uncharacterized\.txt beside it"):
        source_from_file(tmp_path / "qm9.zip")
    (tmp_path / "uncharacterized.txt").write_text("  5  x\n")
    with pytest.raises(InputError, match=r"qm9\.zip cannot be read as a zip"):
        read_source(source_from_file(tmp_path / "qm9.zip"))
    with zipfile.ZipFile(tmp_path / "qm9.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(files / "gdb9.sdf.csv", "gdb9.sdf.csv")
    content = bytearray((tmp_path / "qm9.zip").read_bytes())
    content[100:130] = bytes(30)
    (tmp_path / "qm9.zip").write_bytes(content)
    with pytest.raises(InputError, match=r"qm9\.zip cannot be read as a zip"):
        read_source(source_from_file(tmp_path / "qm9.zip"))
    with zipfile.ZipFile(tmp_path / "qm9.zip", "w") as archive:
        archive.writestr("readme", "")
    with pytest.raises(InputError, match=r"does not contain gdb9\.sdf\.csv"):
        read_source(source_from_file(tmp_path / "qm9.zip"))
    wrong = replace(source_from_file(files), csv=files / "gdb9.sdf")
    with pytest.raises(InputError, match="no column 'mol_id'"):
        read_source(wrong)
