"""Make the virtual environment of a checkout; `make setup` runs this.

Standard library only: it runs on the Python found on the machine, before anything is
installed. The order matters. torch comes first and alone, so that one build of it is
chosen; then molflt with everything in constraints.txt; then torch-scatter, which is
compiled against that torch and is left out, with a sentence, where that fails.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
OLDEST_PYTHON = (3, 11)  # of the pinned versions; molflt itself runs on 3.10
WITHOUT_SCATTER = "molflt uses torch's own sums instead: same results."

Pip = Callable[..., int]


def pinned(name: str, constraints: Path = CONSTRAINTS) -> str:
    """Return ``name==version`` as the constraints file has it."""
    match = re.search(rf"^{name}==\S+", constraints.read_text(), flags=re.MULTILINE)
    if match is None:
        raise SystemExit(f"setup: {constraints} does not pin {name}.")
    return match.group()


def create_venv(venv: Path) -> Path:
    """Create `venv` unless it is there; return its Python."""
    python = venv / "bin" / "python"
    if not python.exists():
        if sys.version_info < OLDEST_PYTHON:
            raise SystemExit(
                f"setup: Python 3.11 or newer is needed, {sys.executable} is "
                f"{sys.version.split()[0]}; run make PYTHON=python3.11 setup."
            )
        say(f"creating {venv} with {sys.executable}")
        if subprocess.run([sys.executable, "-m", "venv", str(venv)]).returncode:
            raise SystemExit(
                "setup: could not create the environment; on Debian and Ubuntu, "
                "install python3-venv."
            )
    return python


def make_pip(python: Path) -> Pip:
    """Return a function that runs ``pip install`` in the environment of `python`."""

    def pip(*args: str) -> int:
        command = [str(python), "-m", "pip", "install", "-qq", *args]
        return subprocess.run(command).returncode

    return pip


def imports_scatter(python: Path) -> bool:
    """Whether torch-scatter is installed and fits the installed torch."""
    command = [str(python), "-c", "import torch_scatter"]
    return subprocess.run(command, capture_output=True).returncode == 0


def has_compiler() -> bool:
    """Whether torch's extension builder finds a C++ compiler (``CXX`` or ``c++``)."""
    return shutil.which(os.environ.get("CXX", "c++")) is not None


def install_scatter(
    pip: Pip,
    works: Callable[[], bool],
    compiler: bool,
    constraints: Path = CONSTRAINTS,
) -> str:
    """Compile torch-scatter where possible.

    Args:
        pip: Runs ``pip install`` with the arguments it is given; returns the exit code.
        works: Whether torch-scatter can be imported now.
        compiler: Whether there is a C++ compiler.
        constraints: File with the pinned version.

    Returns:
        One sentence that says what happened; failure is no error.
    """
    if works():
        return "torch-scatter is there."
    if not compiler:
        return f"no C++ compiler, so torch-scatter is left out; {WITHOUT_SCATTER}"
    say("compiling torch-scatter (about 4 minutes on 2 cores)")
    build = ["--no-build-isolation", "--no-deps", pinned("torch-scatter", constraints)]
    # pip may have kept a build of the same version for another torch; that one installs
    # and does not import, so the second round compiles anew.
    for extra in ([], ["--no-cache-dir", "--force-reinstall"]):
        if pip(*extra, *build) != 0:
            return f"torch-scatter could not be compiled; {WITHOUT_SCATTER}"
        if works():
            return "torch-scatter is compiled."
    return f"torch-scatter was compiled but does not import; {WITHOUT_SCATTER}"


def say(text: str) -> None:
    """Write one line of progress."""
    print(f"setup: {text}", flush=True)


def main(argv: list[str] | None = None) -> None:
    """Create or update the environment."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    parser.add_argument(
        "--torch-index",
        metavar="URL",
        help="index to take torch from; https://download.pytorch.org/whl/cpu has the "
        "small builds without CUDA",
    )
    parser.add_argument(
        "--without-scatter", action="store_true", help="do not compile torch-scatter"
    )
    args = parser.parse_args(argv)
    start = time.monotonic()
    os.environ.setdefault("MAX_JOBS", "2")  # compilers of torch extensions need memory
    python = create_venv(args.venv)
    pip = make_pip(python)
    pins = ["-c", str(CONSTRAINTS)]
    index = ["--index-url", args.torch_index] if args.torch_index else []
    say(f"installing {pinned('torch')}")
    torch = pip(*index, pinned("torch"), *([] if index else pins))
    # ninja, setuptools and wheel build molflt and torch-scatter in this environment.
    tools = torch or pip("ninja", "setuptools", "wheel", *pins)
    say("installing molflt and its dependencies")
    if tools or pip("--no-build-isolation", "-e", f"{ROOT}[dev,notebooks]", *pins):
        raise SystemExit("setup: pip failed; its message is above.")
    if args.without_scatter:
        say(f"torch-scatter is left out as asked; {WITHOUT_SCATTER}")
    else:
        say(install_scatter(pip, lambda: imports_scatter(python), has_compiler()))
    say(f"done in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
