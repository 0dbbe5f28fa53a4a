"""The README's Python runs, and the tables of both pages are those of the results."""

import re

import pytest

from tests.running import script


@pytest.fixture
def readme(repository):
    return (repository / "README.md").read_text()


def test_python_example_runs(readme, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # nothing of the repository is needed
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    adsorption, total, properties = capsys.readouterr().out.splitlines()
    assert -5 < float(adsorption.strip("[]")) < 0
    assert float(total.split()[0]) > 0
    assert total.endswith("(38, 3)")
    dipole, gap = (float(word.strip("[]")) for word in properties.split())
    assert 1 < dipole < 2  # of ethanol
    assert 9.1 < gap < 9.6  # QM9: 9.30 and 9.35 eV, of two isomers


def test_tables_are_made_from_the_results(repository, readme, monkeypatch):
    monkeypatch.syspath_prepend(repository / "benchmarks")  # scripts import each other
    tables = script("benchmarks/tables.py")
    pages = [page.read_text() for page in tables.PAGES]
    assert readme in pages
    assert tables.with_tables(pages) == pages
    table = re.compile(r"(<!-- \w+ -->).*?(<!-- /)", re.DOTALL)
    emptied = [table.sub(r"\1\2", page) for page in pages]
    assert emptied != pages
    assert tables.with_tables(emptied) == pages


def test_a_table_has_its_place_once(repository, readme, monkeypatch):
    monkeypatch.syspath_prepend(repository / "benchmarks")
    tables = script("benchmarks/tables.py")
    with pytest.raises(SystemExit, match="needs the markers <!-- emt_relaxation -->"):
        tables.with_tables([readme])  # the other page is missing
    with pytest.raises(SystemExit, match="needs the markers <!-- emt_is2re -->"):
        tables.with_tables([page.read_text() for page in tables.PAGES] + [readme])


def anchor(heading):
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_path_it_names_exists(repository, readme):
    layout = readme.split("## Layout")[1].split("## Cite")[0]
    for name in re.findall(r"^    (\S+)  ", layout, re.MULTILINE):
        assert (repository / name).exists(), name
    for name, place in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", readme):
        page = repository / (name or "README.md")
        assert page.exists(), name
        if place:
            headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
            assert place in map(anchor, headings), place
    for name in re.findall(
        r"(?:configs|benchmarks|notebooks)/\S+\.(?:yaml|py)", readme
    ):
        assert (repository / name).exists(), name
