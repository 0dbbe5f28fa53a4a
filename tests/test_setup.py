"""Lists of dependencies and the workflow agree, and set-up survives failures."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from molflt.version import __version__
from tests.running import script

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10; jsonargparse and pytest bring tomli along
    import tomli as tomllib


@pytest.fixture(scope="module")
def project(repository):
    return tomllib.loads((repository / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def pins(repository):
    lines = (repository / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


@pytest.fixture(scope="module")
def environment(repository):
    return yaml.safe_load((repository / "environment.yml").read_text())


@pytest.fixture(scope="module")
def setup_env():
    return script("scripts/setup_env.py")


def requirements(project):
    extras = project["optional-dependencies"]
    installed = [*extras["scatter"], *extras["notebooks"], *extras["dev"]]
    return [Requirement(text) for text in [*project["dependencies"], *installed]]


def conda_requirements(environment):
    names = [line for line in environment["dependencies"] if isinstance(line, str)]
    return [Requirement(re.sub(r"(?<![<>=!])=(?!=)", "==", name)) for name in names]


def test_constraints_are_exact_versions_from_an_index(repository):
    for line in (repository / "constraints.txt").read_text().splitlines():
        if not line.startswith("#"):
            assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", line), line


def test_constraints_satisfy_every_bound(project, pins):
    versions = {canonicalize_name(name): version for name, version in pins.items()}
    for requirement in requirements(project):
        name = canonicalize_name(requirement.name)
        assert name in versions, f"constraints.txt lacks {name}"
        assert requirement.specifier.contains(versions[name]), requirement


def test_every_dependency_has_a_lower_bound_and_none_forbids_newer(project):
    for requirement in requirements(project):
        operators = {clause.operator for clause in requirement.specifier}
        assert ">=" in operators, requirement
        assert not operators & {"<", "<=", "==", "~="}, requirement


def test_environment_agrees(project, pins, environment):
    conda = {line.name: line for line in conda_requirements(environment)}
    assert environment["name"] == project["name"]
    python = next(iter(conda.pop("python").specifier)).version
    assert SpecifierSet(project["requires-python"]).contains(python)
    for name, requirement in conda.items():
        if name in pins:
            assert requirement.specifier.contains(pins[name]), requirement
    pip = next(line for line in environment["dependencies"] if isinstance(line, dict))
    assert pip["pip"] == ["-c constraints.txt", "-e .[dev,notebooks]"]
    assert {"dev", "notebooks"} <= set(project["optional-dependencies"])


def test_malicious_releases_of_lightning_are_refused(project):
    lightning = next(r for r in requirements(project) if r.name == "pytorch-lightning")
    assert not lightning.specifier.contains("2.6.2")
    assert not lightning.specifier.contains("2.6.3")


def test_versions_of_package_and_citation_agree(repository, project):
    citation = yaml.safe_load((repository / "CITATION.cff").read_text())
    assert citation["version"] == project["version"] == __version__
    assert citation["license"] == project["license"]
    assert "MIT License" in (repository / "LICENSE").read_text()


def test_tools_check_for_the_oldest_python(repository, project):
    tool = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]
    oldest = project["requires-python"].removeprefix(">=")
    assert tool["mypy"]["python_version"] == oldest
    assert tool["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"


@pytest.fixture(scope="module")
def workflow(repository):
    text = (repository / ".github" / "workflows" / "ci.yml").read_text()
    return yaml.safe_load(text)["jobs"]


def test_workflow_tests_the_oldest_and_the_newest_python(workflow, project, repository):
    versions = re.findall(r":: Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert f">={versions[0]}" == project["requires-python"]
    tested = workflow["package"]["strategy"]["matrix"]["python-version"]
    assert tested == [versions[0], versions[-1]]
    readme = (repository / "README.md").read_text()
    assert f"works on {versions[0]} to {versions[-1]}" in readme


def test_workflow_runs_what_there_is(workflow, repository):
    steps = [step for job in workflow.values() for step in job["steps"]]
    commands = [step["run"] for step in steps if "run" in step]
    makefile = (repository / "Makefile").read_text()
    for command in commands:
        if command.startswith("make "):
            assert f"\n{command.split()[1]}: $(STAMP)" in makefile
    assert os.access(repository / ".ci" / "run", os.X_OK)
    # Without pins the same tests are run as with them.
    (marked,) = re.findall(r"^\t\$\(PYTEST\) -n 2 (-m .*)$", makefile, re.MULTILINE)
    assert sum(command.endswith(marked) for command in commands) == 1
    assert "make docs RUN_NOTEBOOKS=false" in commands
    assert "\nstrict: true" in (repository / "mkdocs.yml").read_text()


class FakePip:
    """Notes the arguments; torch-scatter imports after `after` installations."""

    def __init__(self, code=0, after=1):
        self.code, self.after, self.calls = code, after, []

    def __call__(self, *args):
        self.calls.append(args)
        return self.code

    def works(self):
        return self.code == 0 and len(self.calls) >= self.after


def test_scatter_is_compiled_against_the_installed_torch(setup_env, pins):
    pip = FakePip()
    assert "is compiled" in setup_env.install_scatter(pip, pip.works, compiler=True)
    (call,) = pip.calls
    assert "--no-build-isolation" in call
    assert f"torch-scatter=={pins['torch-scatter']}" in call


def test_scatter_of_another_torch_is_compiled_anew(setup_env):
    pip = FakePip(after=2)
    assert "is compiled" in setup_env.install_scatter(pip, pip.works, compiler=True)
    assert "--no-cache-dir" in pip.calls[1]


@pytest.mark.parametrize(
    ("pip", "compiler", "reason"),
    [
        (FakePip(code=1), True, "could not be compiled"),
        (FakePip(), False, "no C++ compiler"),
        (FakePip(after=99), True, "does not import"),
    ],
)
def test_failing_scatter_is_one_sentence(setup_env, pip, compiler, reason):
    message = setup_env.install_scatter(pip, pip.works, compiler)
    assert reason in message
    assert setup_env.WITHOUT_SCATTER in message
    assert "\n" not in message


def test_scatter_that_works_is_left_alone(setup_env):
    pip = FakePip(after=0)
    assert "is there" in setup_env.install_scatter(pip, pip.works, compiler=True)
    assert not pip.calls


def test_missing_pin_is_named(setup_env, tmp_path):
    (tmp_path / "constraints.txt").write_text("numpy==2.0\n")
    with pytest.raises(SystemExit, match="does not pin torch"):
        setup_env.pinned("torch", tmp_path / "constraints.txt")


def run_make(repository, *words):
    """Run make as from a shell, also where these tests are run by make."""
    outer = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    environment = {k: v for k, v in os.environ.items() if k not in outer}
    run = subprocess.run(
        ["make", *words],
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_help_lists_the_targets(repository):
    shown = run_make(repository)
    for target in ("setup", "demo", "test", "slow", "lint", "format", "notebooks"):
        assert f"make {target} " in shown


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("target", ["demo", "test", "lint"])
def test_make_creates_the_environment_first(repository, tmp_path, target):
    words = ["-n", f"VENV={tmp_path / 'venv'}", f"PYTHON={sys.executable}", target]
    first = run_make(repository, *words).splitlines()[0]
    assert f"{sys.executable} scripts/setup_env.py" in first
