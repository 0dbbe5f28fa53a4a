"""Seeds for every test, and the way to optional larger data."""

import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent

# Tests run in several processes; more threads in each only get in each other's way.
# Commands started by tests compute as the tests do: sums depend on the threads.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def seeds():
    """Every test starts from the same global random states."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - ASE still draws from the global state
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def threads():
    """What a test changes of torch's threads ends with it."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with larger real data, or skip.

    Set ``MOLFLT_SHARED``; the default is ``../shared/data`` beside the checkout.
    """
    folder = Path(os.environ.get("MOLFLT_SHARED", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data in {folder}")
    return folder
