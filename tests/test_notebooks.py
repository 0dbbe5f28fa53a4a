"""Every notebook runs from top to bottom, and is kept without its outputs."""

import re
from pathlib import Path

import nbformat
import pytest
import torch
from nbclient import NotebookClient

from molflt.checkpoint import save_model
from molflt.model import FLTEncoder, FLTModel
from molflt.targets import TargetSpec

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))

every = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)

# What the text printed by each must contain, as a pattern, and its pictures.
PRINTED = {
    "01_train_and_predict": (r"val_id: the mean of the training set .* 0\.\d+ eV", 3),
    "02_your_own_structures": (r"NH3: .*\bN\b.*\n.*charge -1", 1),
    "03_attention": (r"3  far 2 +\d+% +\d+% +\d+%\n", 4),
    "04_spectral_rpe": (r"radial +largest change on turning: \d\.\de-0[5-9] eV", 7),
    "05_large_systems": (r"difference of the energy \de-\d+, of the forces \de-\d+", 2),
    "06_bring_your_data": (r"no 'E_DFT'; the keys there are: E_dft, F_dft", 3),
}


@pytest.fixture
def checkout(tmp_path, repository):
    """A folder in which nothing but what git has lies beside the notebooks."""
    folder = tmp_path / "checkout"
    (folder / "notebooks").mkdir(parents=True)
    for name in ("configs", "data"):
        (folder / name).symlink_to(repository / name)
    return folder


@pytest.fixture
def execute(checkout, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def run(path):
        client = NotebookClient(
            nbformat.read(path, as_version=4),
            timeout=600,
            kernel_name="python3",
            resources={"metadata": {"path": str(checkout / "notebooks")}},
        )
        return client.execute()

    return run


def outputs(notebook):
    """Standard output, kinds of everything displayed, and standard error."""
    found = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    text = {"stdout": "", "stderr": ""}
    for out in found:
        if out.output_type == "stream":
            text[out.name] += out.text
    shown = [kind for out in found for kind in out.get("data", {})]
    return text["stdout"], shown, text["stderr"]


@every
def test_outputs_are_not_kept(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs, "run nbstripout on the notebook"
            assert cell.execution_count is None


@every
def test_notebook_runs_on_a_fresh_clone(path, execute, checkout):
    text, shown, errors = outputs(execute(path))
    pattern, pictures = PRINTED[path.stem]
    assert re.search(pattern, text), text
    assert shown.count("image/png") == pictures
    # Training reports with the time in front; anything else would be a warning.
    for line in errors.splitlines():
        assert re.match(r"\d\d:\d\d:\d\d ", line), errors
    assert not list((checkout / "notebooks").iterdir()), "it wrote beside itself"


def test_links_between_notebooks_lead_somewhere(repository):
    text = "".join(path.read_text() for path in NOTEBOOKS)
    linked = set(re.findall(r"\]\((\d\d_\w+\.ipynb)\)", text))
    assert len(linked) >= 4
    assert linked <= {path.name for path in NOTEBOOKS}


def test_attention_takes_the_model_of_the_demo(execute, checkout):
    torch.manual_seed(0)
    model = FLTModel(FLTEncoder(width=16, num_layers=2), [TargetSpec("energy")])
    (checkout / "demo").mkdir()
    save_model(model, checkout / "demo" / "demo.ckpt")
    (path,) = [path for path in NOTEBOOKS if path.stem == "03_attention"]
    text, shown, errors = outputs(execute(path))
    assert "2  near 6" in text
    assert "3  near 1" not in text
    assert errors == ""
    assert "text/html" in shown
