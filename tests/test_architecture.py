"""The shape of the package: imports point one way, nothing is unpickled."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "molflt"
FILES = sorted(PACKAGE.rglob("*.py"))

BASE = {"errors", "files", "units", "typing", "targets", "neighbors", "moments"}
BASE |= {"version", "device", "pretrained", "subsurface", "parts", "host"}
BASE |= {"graph_index", "elements", "encoder_options", "provenance"}
# What each part may import besides itself. Parts that are not named here are at the top
# (commands, the calculator, the demo): they may import everything, nobody imports them.
ALLOWED = {
    "data": BASE,
    "nn": BASE,
    "domain": BASE,
    "admission": BASE | {"data", "domain"},
    "structures": BASE | {"data", "domain", "admission"},
    "encoder": BASE | {"nn"},
    "density": BASE | {"nn", "encoder", "data"},
    "gradients": BASE | {"nn", "encoder"},
    "features": BASE | {"nn", "encoder"},
    "readouts": BASE | {"nn"},
    "model": BASE
    | {"nn", "encoder", "features", "readouts", "gradients", "data", "structures"},
    "checkpoint": BASE | {"nn", "model"},
    "testing": BASE | {"nn", "model"},
    "analysis": BASE
    | {"nn", "features", "gradients", "model", "checkpoint", "data", "testing"},
    "training": BASE
    | {"nn", "density", "gradients", "model", "checkpoint", "data", "analysis"},
    "report": BASE | {"model", "checkpoint", "data", "structures", "analysis"},
}
for name in BASE:
    ALLOWED[name] = BASE


def part(path: Path) -> str:
    """The first name below `molflt` that a file belongs to; "" for molflt itself."""
    relative = path.relative_to(PACKAGE)
    if relative.parts == ("__init__.py",):
        return ""
    return relative.parts[0].removesuffix(".py")


def imported_modules(tree: ast.AST, path: Path) -> list[str]:
    """Dotted names of everything a file imports when it runs, wherever in the file."""
    names = []
    for node in walk_without_types(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = node.module or ""
            if node.level:
                parents = path.relative_to(PACKAGE.parent).parts[: -node.level]
                package = ".".join([*parents, package]).rstrip(".")
            names += [f"{package}.{alias.name}" for alias in node.names]
    return names


def walk_without_types(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node except what stands under ``if TYPE_CHECKING``."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield from walk_without_types(child)


def parse(path: Path) -> ast.AST:
    return ast.parse(path.read_text(encoding="utf-8"))


by_file = pytest.mark.parametrize(
    "path", FILES, ids=lambda path: str(path.relative_to(PACKAGE))
)


@by_file
def test_imports_point_one_way(path):
    here = part(path)
    if here not in ALLOWED:
        return
    for name in imported_modules(parse(path), path):
        parts = name.split(".")
        if parts[0] == "molflt":
            # `from molflt import x` names the part or an object of the top level
            target = parts[1] if len(parts) > 1 else ""
            assert target in ALLOWED[here] | {here}, f"{here} must not import {name}"


@by_file
def test_torch_scatter_is_imported_in_one_place(path):
    names = {name.split(".")[0] for name in imported_modules(parse(path), path)}
    if path != PACKAGE / "nn" / "segment.py":
        assert "torch_scatter" not in names


@by_file
def test_nothing_is_unpickled(path):
    """A pickle is a program: only pickle's errors may be named, never its readers."""
    tree = parse(path)
    dangerous = {"cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    harmless = {"pickle", "pickle.UnpicklingError", "pickle.PickleError"}
    for name in imported_modules(tree, path):
        top = name.split(".")[0]
        assert top not in dangerous | {"_pickle"}, f"{name} executes what it reads"
        assert top != "pickle" or name in harmless, f"{name} executes what it reads"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pickle":
            assert ast.unparse(node) in harmless, f"{ast.unparse(node)} runs code"
        if isinstance(node, ast.Call):
            call = ast.unparse(node.func)
            options = {k.arg: ast.unparse(k.value) for k in node.keywords}
            if call == "torch.load":
                assert options.get("weights_only") == "True"
            assert options.get("allow_pickle", "False") == "False"
            assert call not in {"eval", "exec"}


@by_file
def test_files_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


@by_file
def test_annotations_are_evaluated(path):
    """With postponed annotations, shapes could not be checked at run time."""
    assert "__future__.annotations" not in imported_modules(parse(path), path)


def test_no_module_is_called_utils():
    assert not [path for path in FILES if path.stem in {"utils", "helpers", "misc"}]
