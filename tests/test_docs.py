"""The documentation: what it names exists, and it can be built."""

import csv
import importlib
import inspect
import re
import runpy

import ase.io
import pytest
import torch
import yaml
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.optimize import BFGS

import molflt
from molflt.checkpoint import save_model
from molflt.cli import main
from molflt.data.labels.labelled_frames import iterate_graphs
from molflt.data.labels.rules import LabelRules
from molflt.data.molecule import atoms_to_graph
from molflt.encoder import FLTEncoder
from molflt.model import FLTModel
from molflt.nn import Laplace
from molflt.targets import TargetSpec
from molflt.testing import assert_translation_invariant
from tests.browser import CHROMIUM, chromium, watched
from tests.builders import model_of
from tests.running import python
from tests.training.clusters import cluster

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

    class Loader(yaml.SafeLoader):
        """Takes the variables of the environment that mkdocs looks up for text."""

    Loader.add_constructor("!ENV", lambda loader, node: loader.construct_sequence(node))
    config = yaml.load((repository / "mkdocs.yml").read_text(), Loader)
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


def code_of(pages, words):
    """Return the code of the page on your own data that has these words in it."""
    blocks = re.findall("```python\n(.*?)```", pages["how-to/own-data.md"], re.DOTALL)
    (code,) = [block for block in blocks if words in block]
    return code


def test_relaxations_become_starts_with_the_end(pages, tmp_path):
    (tmp_path / "relaxations").mkdir()
    ends = []
    for index in range(2):
        atoms = molecule("CO")
        atoms.rattle(0.1, seed=index)
        atoms.calc = EMT()
        trajectory = str(tmp_path / "relaxations" / f"{index}.traj")
        with BFGS(atoms, trajectory=trajectory, logfile=None) as optimizer:
            optimizer.run(fmax=0.05)
        ends.append(atoms)
    (tmp_path / "starts.py").write_text(code_of(pages, "starts.append"))
    done = python("starts.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = list(iterate_graphs(tmp_path / "starts.extxyz", LabelRules(kind="relaxed")))
    for graph, end in zip(found, ends, strict=True):
        assert float(graph.energy) == pytest.approx(end.get_potential_energy())
        assert graph.pos_relaxed.numpy() == pytest.approx(end.positions, abs=1e-6)
        assert (graph.pos_relaxed - graph.pos).abs().max() > 1e-3


def test_a_table_and_a_folder_become_labelled_structures(pages, tmp_path):
    (tmp_path / "structures").mkdir()
    for name, size in (("007", 3.6), ("b", 4.0)):
        crystal = bulk("Cu", a=size, cubic=True)
        ase.io.write(tmp_path / "structures" / f"{name}.cif", crystal)
    (tmp_path / "labels.csv").write_text("id,e_form\nb,-0.5\n007,0.25\n")
    (tmp_path / "join.py").write_text(code_of(pages, "labelled.append"))
    done = python("join.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = list(iterate_graphs(tmp_path / "labelled.traj", LabelRules("e_form")))
    assert [(g.sid, float(g.energy)) for g in found] == [("b", -0.5), ("007", 0.25)]
    assert [float(graph.cell[0, 0, 0]) for graph in found] == [4.0, 3.6]


def test_properties_of_a_table_are_trained_and_predicted(pages, tmp_path):
    """With what the page shows, and a few molecules more."""
    page = pages["how-to/own-data.md"]
    (table,) = re.findall("```\n(smiles,.*?)```", page, re.DOTALL)
    (config,) = re.findall("# properties.yaml\n(.*?)```", page, re.DOTALL)
    more = "".join(f"{'C' * n}O,{n},\n{'C' * n}N,,{n}\n" for n in range(1, 5))
    (tmp_path / "molecules.csv").write_text(table + more)
    (tmp_path / "properties.yaml").write_text(config)
    words = ["--trainer.max_epochs=1", "--trainer.accelerator=cpu"]
    words += ["--model.encoder.init_args.width=8", "--data.init_args.batch_size=2"]
    command = ["-m", "molflt.cli"]
    fit = [*command, "fit", "--config", "properties.yaml", *words]
    done = python(*fit, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "training structures have no label" in done.stderr + done.stdout
    checkpoint = "runs/properties/version_0/checkpoints/best.ckpt"
    predict = [*command, "predict", checkpoint, "molecules.csv", "-o", "predicted.csv"]
    done = python(*predict, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "predicted.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    assert {"predicted_logp [1]", "predicted_gap [eV]"} <= set(rows[0])


def test_the_data_module_of_the_docs_trains_two_targets(pages, tmp_path):
    (tmp_path / "my_data.py").write_text(code_of(pages, "class Mine"))
    frames = []
    for index in range(8):
        atoms = molecule("H2O")
        atoms.rattle(0.05, seed=index)
        atoms.calc = SinglePointCalculator(atoms, energy=-14.0 + 0.1 * index)
        atoms.info["gap"] = 5.0 + 0.2 * index
        frames.append(atoms)
    ase.io.write(tmp_path / "frames.extxyz", frames)
    data = {"file": "frames.extxyz", "num_val": 3, "batch_size": 2}
    encoder = {"width": 8, "num_layers": 1}
    config = {
        "model": {"encoder": {"class_path": "molflt.FLTEncoder", "init_args": encoder}},
        "data": {"class_path": "my_data.Mine", "init_args": data},
        "checkpoint": {"monitor": "val/gap/mae_eV"},
        "trainer": {
            "max_epochs": 1,
            "enable_progress_bar": False,
            "accelerator": "cpu",
        },
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
    words = ["-m", "molflt.cli", "fit", "--config", "mine.yaml"]
    done = python(*words, cwd=tmp_path)  # whose folder Python searches with -m
    assert done.returncode == 0, done.stderr
    model = molflt.load(tmp_path / "runs/run/version_0/checkpoints/best.ckpt")
    assert [spec.name for spec in model.targets] == ["energy", "gap"]
    assert model.origin["data"] == "Mine"


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
        defaults = ["" if value == "none" else value for value in defaults]
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


def test_the_examples_of_layers_run(pages):
    page = pages["reference/layers.md"]
    names = {}
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(code, "layers.md", "exec"), names)
        assert names["x"].shape == (20, 64)
    assert names["vec"].abs().max() > 0
    # Its g is the transform of its f: that of molflt's own of the same kernel.
    own, known = names["Exponential"](4, length=2.0), Laplace(4, length=2.0)
    q = torch.linspace(0, 2, 20).expand(4, -1)
    torch.testing.assert_close(own.radial_transform(q), known.radial_transform(q))
    r = torch.linspace(0, 9, 20)
    torch.testing.assert_close(own.radial_shape(r), known.radial_shape(r))


@pytest.mark.parametrize(
    "page",
    [f"how-to/{name}.md" for name in ("look", "large", "simulate", "predict")],
)
def test_examples_run_in_order(pages, page, tmp_path, monkeypatch):
    """On a small molecule, with small models under the names of the pages."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    target = TargetSpec("energy", kind="potential")
    for name in ("model", "forces", "a", "b", "c"):
        model = model_of(target)
        model.statistics["energy"]["pbc_seen"] = [[False, False, False]]
        save_model(model, tmp_path / f"{name}.ckpt")
    atoms = molecule("CH3OH")
    names = {"atoms": atoms, "molflt": molflt, "graph": atoms_to_graph(atoms)}
    names["model"] = model.eval()
    blocks = re.findall(r"```python\n(.*?)```", pages[page], re.DOTALL)
    assert len(blocks) >= 2
    for code in blocks:
        exec(compile(code, page, "exec"), names)
    if page == "how-to/look.md":
        assert (tmp_path / "attention.pdf").read_bytes().startswith(b"%PDF")
        assert (tmp_path / "attention.html").stat().st_size > 1e6


@pytest.fixture
def make_graph_and_model():
    torch.manual_seed(0)
    model = FLTModel(FLTEncoder(width=16, num_layers=1), [TargetSpec("energy")])
    return cluster(1), model


@pytest.fixture(scope="module")
def site(repository, tmp_path_factory):
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    words = ("-m", "mkdocs", "build", "--strict", "-d", folder)
    done = python(*words, cwd=repository)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_the_site_is_built_without_warnings(site):
    page = (site / "reference" / "models.html").read_text()
    assert "scalar features (n, c)" in page
    for html in site.rglob("*.html"):
        assert 'src="http' not in html.read_text(), html  # opens offline
    theory = (site / "theory.html").read_text()
    assert theory.count('display="block"') > 12
    assert "arithmatex" not in theory  # every formula is drawn


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("name", ["theory", "how-to/look", "notebooks/03_attention"])
def test_pages_open_from_the_disk(site, name):
    pytest.importorskip("playwright.sync_api")
    with chromium("--disable-gpu") as browser:
        page = browser.new_page(viewport={"width": 400, "height": 800})
        said, asked = watched(page)
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        page.set_viewport_size({"width": 1280, "height": 800})
        page.click(".md-search__input")
        page.keyboard.type("tolerance")
        page.wait_for_selector(".md-search-result__link", timeout=30_000)
        assert not said
        assert all(url.startswith(("file:", "data:", "blob:")) for url in asked)


def test_links_between_notebooks_lead_to_pages(repository):
    pytest.importorskip("latex2mathml")
    hooks = runpy.run_path(str(repository / "scripts" / "docs_hooks.py"))
    near = '<a href="03_attention.ipynb">'
    part = '<a class="x" href="03_attention.ipynb#rows">'
    elsewhere = '<a href="https://example.org/03_attention.ipynb">'
    assert hooks["on_page_content"](near + part + elsewhere) == (
        '<a href="03_attention.html">'
        '<a class="x" href="03_attention.html#rows">' + elsewhere
    )
