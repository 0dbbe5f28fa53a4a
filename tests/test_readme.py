"""The README's Python runs, and its tables are those of the results."""

import importlib.util
import re

import pytest

from molflt.checkpoint import save_model
from molflt.model import FLTEncoder, FLTModel
from molflt.targets import TargetSpec


@pytest.fixture
def readme(repository):
    return (repository / "README.md").read_text()


def test_python_example_runs(readme, tmp_path, monkeypatch, capsys):
    """With an untrained model in the place of the demo's checkpoint."""
    (tmp_path / "demo").mkdir()
    spec = TargetSpec("energy", kind="relaxed")
    model = FLTModel(FLTEncoder(width=16, num_layers=1), [spec])
    statistics = {"element_reference": {}, "mean": 0.0, "std": 1.0}
    statistics |= {"elements": [6, 8, 29], "pbc_seen": [[True, True, False]]}
    model.set_statistics("energy", statistics)
    save_model(model, tmp_path / "demo" / "demo.ckpt")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    predicted, calculated = capsys.readouterr().out.split()
    assert float(predicted.strip("[]")) == pytest.approx(float(calculated), rel=1e-5)


def test_tables_are_made_from_the_results(repository, readme, monkeypatch):
    monkeypatch.syspath_prepend(repository / "benchmarks")  # scripts import each other
    path = repository / "benchmarks" / "tables.py"
    spec = importlib.util.spec_from_file_location("tables", path)
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    assert tables.with_tables(readme) == readme


def test_every_path_it_names_exists(repository, readme):
    layout = readme.split("## Layout")[1].split("## Cite")[0]
    for name in re.findall(r"^    (\S+)  ", layout, re.MULTILINE):
        assert (repository / name).exists(), name
    for name in re.findall(
        r"(?:configs|benchmarks|notebooks)/\S+\.(?:yaml|py)", readme
    ):
        assert (repository / name).exists(), name
