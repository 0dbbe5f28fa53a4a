import time
from pathlib import Path

import ase.io
import pytest
from ase.build import add_adsorbate, fcc111, molecule

import molflt
from molflt.cli import main
from tests.builders import copper_slab, model_of


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    molflt.save_model(model_of(), "model.ckpt")
    ase.io.write("some.traj", [copper_slab(), molecule("CH4")])
    return tmp_path


def test_a_page_is_written(folder, capsys):
    assert main(["inspect", "model.ckpt", "some.traj", "-o", "report.html"]) == 0
    printed = capsys.readouterr()
    expected = molflt.load("model.ckpt").predict([copper_slab()])["energy"][0]
    name, value, unit = printed.out.splitlines()[0].split()
    assert (name, unit) == ("energy", "eV")
    assert float(value) == pytest.approx(expected, abs=2e-5)
    assert "rounded to 8 bits" in printed.out
    page = Path("report.html").read_text()
    assert "some.traj, frame 0" in page
    assert "SHA-256" in page
    assert len(page) < 10e6
    assert sorted(path.name for path in folder.iterdir()) == [
        "model.ckpt", "report.html", "some.traj"
    ]  # fmt: skip


def test_what_makes_a_prediction_arbitrary_is_said(folder, capsys):
    """As molflt predict says it, on the page too, as that is what is passed on."""
    model = molflt.load("model.ckpt")
    model.statistics["energy"] |= {"num_atoms_min": 5, "pbc_seen": [[False] * 3]}
    molflt.save_model(model, "model.ckpt")
    Path("close.xyz").write_text("2\n\nC 0 0 0\nC 0 0 0.2\n")
    assert main(["inspect", "model.ckpt", "close.xyz", "-o", "report.html"]) == 0
    said = capsys.readouterr().err
    page = Path("report.html").read_text()
    for sentence in (
        "Warning: the structure has atoms closer to each other than bonds are",
        "Warning: the structure has fewer atoms than any of the training set",
    ):
        assert sentence in said
        assert sentence in page
    assert main(["inspect", "model.ckpt", "some.traj", "-o", "report.html"]) == 0
    assert "has pbc T T F, the training set only F F F" in capsys.readouterr().err


def test_frames_and_what_is_refused(folder, capsys):
    words = ["inspect", "model.ckpt", "some.traj", "-o"]
    for last in ("1", "-1"):
        assert main([*words, "r.html", "--frame", last]) == 0
        assert "CH4" in Path("r.html").read_text()
        assert "some.traj, frame 1; --frame chooses another" in capsys.readouterr().err
    Path("gold.xyz").write_text("1\n\nAu 0 0 0\n")
    Path("r.html").unlink()
    for arguments, code, phrase in (
        ([*words, "r.html", "--frame", "2"], 1, "some.traj has no frame 2"),
        ([*words, "r.html", "--frame", "-3"], 1, "some.traj has no frame -3"),
        ([*words, "r.pdf"], 2, "-o must end in .html"),
        ([*words, "none/r.html"], 1, "there is no folder none"),
        ([*words, "r.html", "--target", "gap"], 2, "target must be one of energy"),
        (["inspect", "model.ckpt", "gold.xyz", "-o", "r.html"], 1, "has Au"),
        (["inspect", "no.ckpt", "some.traj", "-o", "r.html"], 1, "does not exist"),
        (["inspect", "model.ckpt", "some.traj"], 2, "required"),
    ):
        capsys.readouterr()
        assert main(arguments) == code, arguments
        error = capsys.readouterr().err
        assert phrase in error
        assert "Traceback" not in error
        assert not Path("r.html").exists()


def test_which_structure_is_shown_is_said(folder, capsys):
    several = "; --frame chooses another"
    ase.io.write("one.traj", molecule("CH4"))
    for file, frame, end in (
        ("some.traj", "0", several),
        ("some.traj", "-2", several),
        ("one.traj", "0", ""),
        ("one.traj", "-1", ""),
    ):
        words = ["inspect", "model.ckpt", file, "-o", "r.html", "--frame", frame]
        assert main(words) == 0
        said = capsys.readouterr().err
        assert f"{file}, frame 0{end}" in said
        assert (several in said) == bool(end)


def test_a_slab_of_200_atoms_with_the_default_model(folder, capsys):
    """At most 15 s of one core and 10 MB, whatever else the machine does."""
    model = molflt.FLTModel(molflt.FLTEncoder(), [molflt.TargetSpec("energy")])
    molflt.save_model(model, "default.ckpt")
    atoms = fcc111("Cu", (7, 7, 4), vacuum=8.0)
    add_adsorbate(atoms, molecule("CH3OH"), 2.2, "ontop", mol_index=1)
    atoms.info = {}
    ase.io.write("large.traj", atoms)
    started = time.process_time()
    assert main(["inspect", "default.ckpt", "large.traj", "-o", "large.html"]) == 0
    assert time.process_time() - started < 15
    assert Path("large.html").stat().st_size < 10e6
    assert "left out" not in capsys.readouterr().out  # all rows of all atoms
