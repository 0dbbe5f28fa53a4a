"""Checkpoints and structure files to predict."""

import ase.io
import pytest
from ase.build import molecule

import molflt
from tests.builders import copper_slab, model_of


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a checkpoint and structure files."""
    monkeypatch.chdir(tmp_path)
    molflt.save_model(model_of(), "model.ckpt")
    ase.io.write("one.xyz", molecule("H2O"))
    ase.io.write("many.traj", [molecule(name) for name in ("CH4", "NH3", "CO")])
    ase.io.write("slab.traj", copper_slab())
    return tmp_path
