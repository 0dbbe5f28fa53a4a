"""Every notebook runs from top to bottom, and is kept without its outputs."""

from pathlib import Path

import nbformat
import pytest
import torch
from nbclient import NotebookClient

from molflt.checkpoint import save_model
from molflt.model import FLTEncoder, FLTModel
from molflt.targets import TargetSpec

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
FIRST = NOTEBOOKS[0]

every = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Run a notebook in a folder of its own, so that nothing of yours is read."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    folder = tmp_path / "checkout" / "notebooks"
    folder.mkdir(parents=True)

    def run(path, first=""):
        notebook = nbformat.read(path, as_version=4)
        if first:
            notebook.cells.insert(0, nbformat.v4.new_code_cell(first))
        metadata = {"path": str(folder)}
        client = NotebookClient(
            notebook,
            timeout=300,
            kernel_name="python3",
            resources={"metadata": metadata},
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
def test_notebook_runs_on_a_fresh_clone(path, execute):
    text, shown, errors = outputs(execute(path))
    assert shown.count("image/png") >= 2
    assert "[eV]" in text
    assert errors == ""


def test_first_look_takes_the_model_of_the_demo(execute, tmp_path):
    torch.manual_seed(0)
    model = FLTModel(FLTEncoder(width=16, num_layers=3), [TargetSpec("energy")])
    folder = tmp_path / "checkout" / "demo"
    folder.mkdir(parents=True)
    save_model(model, folder / "demo.ckpt")
    text, shown, _ = outputs(execute(FIRST))
    assert "from ../demo/demo.ckpt\n3 layers" in text
    assert "layer 3, O: near 1" in text
    assert shown.count("image/png") == 3


@pytest.mark.slow
def test_first_look_without_the_sample(execute):
    hide = "import pathlib, molflt.data.emt\nmolflt.data.emt.SAMPLE = pathlib.Path('x')"
    text, shown, _ = outputs(execute(FIRST, first=hide))
    assert "trained on 40 structures, just now" in text
    assert shown.count("image/png") == 3
