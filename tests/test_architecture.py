"""The shape of the package: imports point one way, nothing is unpickled."""

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "molflt"
FILES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted(Path(__file__).resolve().parent.rglob("*.py"))

# The bottom of the package, in layers: a file may import from the layers above its own.
BASE = [
    "closeness elements encoder_options errors frames pretrained targets "
    "typing unit_names units version warn",
    "device files graph one_thread plain_values provenance",
    "encoder_inputs",
]
# What every other part may import besides itself and BASE, from the bottom to the top:
# a part may name none but those above it.
PARTS = {
    "": "",  # molflt itself, whose names are imported when they are first used
    "ase_units": "",
    "ase_results": "ase_units",
    "data": "",
    "domain": "",
    "nn": "",
    "admission": "data domain",
    "structures": "data domain admission",
    "read_structures": "data domain admission",
    "encoder": "nn",
    "density": "data nn encoder",
    "gradients": "nn encoder",
    "features": "nn encoder",
    "readouts": "nn",
    "model": "data nn structures encoder gradients features readouts",
    "energy_target": "ase_units gradients",
    "own_classes": "encoder readouts model",
    "replaced_parts": "model own_classes",
    "checkpoint": "nn encoder model own_classes replaced_parts",
    "testing": "nn model",
    "parallel": "nn encoder gradients model",
    "evaluation": "nn gradients features model checkpoint",
    "analysis": "data domain nn gradients features model checkpoint testing",
    "training": "data domain nn density gradients model own_classes checkpoint "
    "analysis",
    "report": "data structures model checkpoint analysis",
    "calculator": "ase_results ase_units data domain admission nn model "
    "energy_target evaluation",
    "predict": "data domain structures read_structures model energy_target evaluation",
    "relax": "domain read_structures evaluation predict",
    "commands": "data domain structures read_structures model energy_target checkpoint "
    "evaluation analysis training report predict relax",
    "cli": "commands",
    "__main__": "cli",
}
ALLOWED = {
    name: {name, *" ".join(BASE[:depth]).split()}
    for depth, layer in enumerate(BASE)
    for name in layer.split()
} | {name: {name, *" ".join([*BASE, above]).split()} for name, above in PARTS.items()}


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


@cache
def parse(path: Path) -> ast.AST:
    return ast.parse(path.read_text(encoding="utf-8"))


def dotted(path: Path) -> str:
    """The name under which a file of the checkout is imported."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules_in(path: Path, known: set[str]) -> set[str]:
    """Those of the known modules that a file imports, or imports something from."""
    found = set()
    for name in imported_modules(parse(path), path):
        words = name.split(".")
        heads = (".".join(words[:end]) for end in range(len(words), 0, -1))
        found.add(next((head for head in heads if head in known), None))
    return found - {None}


by_file = pytest.mark.parametrize(
    "path", FILES, ids=lambda path: str(path.relative_to(PACKAGE))
)


@by_file
def test_imports_point_one_way(path):
    here = part(path)
    assert here in ALLOWED, (
        f"molflt/{here} has no place yet: name it in PARTS (or BASE) of {__file__}, "
        "below everything that it imports."
    )
    for name in imported_modules(parse(path), path):
        parts = name.split(".")
        if parts[0] == "molflt":
            # `from molflt import x` names the part or an object of the top level
            target = parts[1] if len(parts) > 1 else ""
            assert target in ALLOWED[here], f"{here} must not import {name}"


def test_places_are_in_order_and_taken():
    names = [*" ".join(BASE).split(), *PARTS]
    for name, above in PARTS.items():
        later = set(above.split()) - set(names[: names.index(name)])
        assert not later, f"{name} may not name {later}, which come after it in PARTS"
    gone = set(names) - {part(path) for path in FILES}
    assert not gone, f"there is no molflt/{gone} any more: take its place away"


def test_no_file_imports_itself_by_way_of_others():
    known = {dotted(path) for path in FILES}
    graph = {dotted(path): modules_in(path, known) for path in FILES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"these files import each other: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize(
    "path", TESTS, ids=lambda path: str(path.relative_to(PACKAGE.parent))
)
def test_tests_share_plain_modules_only(path):
    tests = [test for test in TESTS if test.stem.startswith("test_")]
    known = {name for test in tests for name in (dotted(test), test.stem)}
    found = modules_in(path, known)
    assert not found, f"what {found} lends others belongs into a module without test_"


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in FILES
        if path.name == "__init__.py" and "|---|" in path.read_text()
    ],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_an_index_names_what_is_there(path):
    """The tables in the `__init__` of packages: no file left out, none that is gone."""
    _, *rows = re.findall(r"^\| ([^|]+) \|", path.read_text(), re.M)
    names = [name.strip("`") for row in rows for name in row.split(", ")]
    places = [place for place in path.parent.iterdir() if place.name[:2] != "__"]
    found = {place.name.removesuffix(".py") for place in places}
    lost = [place for place in found if not any(fnmatch(place, n) for n in names)]
    gone = [name for name in names if not any(fnmatch(place, name) for place in found)]
    assert not lost, f"{path} does not name {lost}"
    assert not gone, f"{path} names {gone}, which are not there"


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
