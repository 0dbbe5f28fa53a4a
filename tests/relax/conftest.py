"""A working folder with a force field."""

import pytest

import molflt
from tests.relax.systems import make_model


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    molflt.save_model(make_model(), "pes.ckpt")
    return tmp_path
