"""What is published holds the whole package and nothing else."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from importlib.metadata import PackageNotFoundError, version

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version


def _setuptools() -> Version:
    try:
        return Version(version("setuptools"))
    except PackageNotFoundError:
        return Version("0")


PUBLISHED = ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md")


@pytest.fixture(scope="module")
def distributions(repository, tmp_path_factory):
    """Build from what the repository has, in a folder of its own, without a network."""
    if _setuptools() < Version("77"):
        pytest.skip("needs setuptools 77 or newer")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    junk = shutil.ignore_patterns("__pycache__", "*.so", ".mypy_cache")
    shutil.copytree(repository / "molflt", source / "molflt", ignore=junk)
    for name in (*PUBLISHED, "CITATION.cff", "constraints.txt"):
        shutil.copy(repository / name, source)
    (source / "tests").mkdir()  # what lies beside the package stays there
    (source / "tests" / "__init__.py").touch()
    (source / "tests" / "test_nothing.py").touch()
    program = (
        "from setuptools import build_meta as b; b.build_wheel('..'); "
        "b.build_sdist('..')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(distributions):
    (path,) = distributions.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_source_distribution_builds_what_the_wheel_is(distributions, wheel):
    (path,) = distributions.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        files = [member.name for member in archive if member.isfile()]
    names = {name.split("/", 1)[1] for name in files}
    assert {n for n in wheel.namelist() if ".dist-info/" not in n} < names
    assert set(PUBLISHED) | {"CITATION.cff", "constraints.txt"} < names
    assert not any(name.startswith("tests/") for name in names)


def test_every_file_of_the_package_is_there_and_nothing_else(wheel, repository):
    """Modules, and what they read: a new kind of file must be named as package-data."""
    names = {n for n in wheel.namelist() if ".dist-info/" not in n}
    package = {
        str(path.relative_to(repository))
        for path in (repository / "molflt").rglob("*")
        if path.is_file()
        and path.suffix not in (".pyc", ".so")
        and "__pycache__" not in path.parts
    }
    assert names == package
    assert {"molflt/report/page.html", "molflt/nn/kernels/near.cpp"} < names
    assert "molflt/py.typed" in names


def test_the_configuration_of_the_demo_is_a_file_of_its_own(wheel, repository):
    """In the repository it is a link, which a wheel cannot hold."""
    expected = (repository / "configs" / "emt.yaml").read_bytes()
    assert wheel.read("molflt/commands/emt.yaml") == expected


def test_the_metadata_say_what_is_needed(wheel):
    (name,) = [n for n in wheel.namelist() if n.endswith(".dist-info/METADATA")]
    metadata = Parser().parsestr(wheel.read(name).decode())
    assert metadata["License-Expression"] == "MIT"
    pythons = SpecifierSet(metadata["Requires-Python"])
    assert all(pythons.contains(f"3.{minor}") for minor in (10, 11, 12, 13))
    assert not pythons.contains("3.9")
    needed = {
        r.name: r
        for r in map(Requirement, metadata.get_all("Requires-Dist"))
        if r.marker is None
    }
    assert needed["torch"].specifier.contains("2.6.0")
    assert not needed["torch"].specifier.contains("2.5.1")
    assert "torch-scatter" not in needed  # compiled extensions are nobody's duty
    (points,) = [n for n in wheel.namelist() if n.endswith("entry_points.txt")]
    assert "molflt = molflt.cli:main" in wheel.read(points).decode()
