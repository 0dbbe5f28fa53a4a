"""The documentation: what it names exists, and it can be built."""

import importlib
import inspect
import re
import subprocess
import sys

import pytest
import yaml

from molflt.cli import main
from molflt.encoder import FLTEncoder
from molflt.testing import assert_translation_invariant

PAGES = "docs/**/*.md"


@pytest.fixture(scope="module")
def pages(repository):
    return {
        str(path.relative_to(repository / "docs")): path.read_text()
        for path in repository.glob(PAGES)
    }


def nav_files(nav):
    for entry in nav:
        for value in entry.values():
            if isinstance(value, str):
                yield value
            else:
                yield from nav_files(value)


def test_every_page_is_in_the_navigation(repository, pages):
    config = yaml.safe_load((repository / "mkdocs.yml").read_text())
    notebooks = [f"notebooks/{p.name}" for p in repository.glob("notebooks/*.ipynb")]
    assert sorted(nav_files(config["nav"])) == sorted([*pages, *notebooks])


def test_every_documented_object_exists(pages):
    names = re.findall(r"^::: (\S+)", "\n".join(pages.values()), re.MULTILINE)
    assert len(names) > 20
    for name in names:
        parent, _, last = name.rpartition(".")
        module = importlib.import_module(parent)
        if not hasattr(module, last):
            importlib.import_module(name)


def test_every_command_is_known(pages, capsys):
    """With ``--help`` in the place of its arguments."""
    text = "\n".join(pages.values())
    lines = re.findall(r"^    molflt ([^#\n]+)", text, re.MULTILINE)
    # The command, of `molflt data` with its own command.
    found = {tuple(line.split()[: 1 + line.startswith("data")]) for line in lines}
    assert len(found) >= 6
    for words in sorted(found):
        with pytest.raises(SystemExit) as stop:
            raise SystemExit(main([*words, "--help"]))
        assert stop.value.code == 0, words
    capsys.readouterr()


def test_paths_exist(repository, pages):
    for name in re.findall(r"`(configs/\w+\.yaml|data/README\.md)`", str(pages)):
        assert (repository / name).exists(), name


def test_defaults_in_the_table_are_those_of_the_encoder(pages):
    parameters = inspect.signature(FLTEncoder).parameters
    page = pages["how-to/architecture.md"]
    rows = re.findall(r"^\| (`[^|]*`) \| ([^|]*) \|", page, re.MULTILINE)
    assert len(rows) >= 6
    for names, values in rows:
        names = re.findall(r"`(\w+)`", names)
        defaults = [value.strip("` ").removesuffix(" Å") for value in values.split(",")]
        assert len(names) == len(defaults)
        for name, value in zip(names, defaults, strict=True):
            assert str(parameters[name].default).removesuffix(".0") == value, name


def test_the_example_of_laws_runs(pages, make_graph_and_model):
    (code,) = re.findall(r"```python\n(.*?)```", pages["how-to/laws.md"], re.DOTALL)
    graph, model = make_graph_and_model
    exec(compile(code, "laws.md", "exec"), {"graph": graph, "model": model})

    def broken(data):
        return data.pos.sum().view(1)

    with pytest.raises(AssertionError):
        assert_translation_invariant(broken, graph)


@pytest.fixture
def make_graph_and_model():
    import torch

    from molflt.model import FLTModel
    from molflt.targets import TargetSpec
    from tests.training.clusters import cluster

    torch.manual_seed(0)
    model = FLTModel(FLTEncoder(width=16, num_layers=1), [TargetSpec("energy")])
    return cluster(1), model


@pytest.mark.slow
def test_the_site_is_built_without_warnings(repository, tmp_path):
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", tmp_path]
    done = subprocess.run(
        command, cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "reference" / "models.html").read_text()
    assert "scalar features (n, c)" in page
    for html in tmp_path.rglob("*.html"):
        assert 'src="http' not in html.read_text(), html  # opens offline
