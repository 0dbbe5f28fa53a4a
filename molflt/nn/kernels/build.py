"""Compile the loops of this folder for given sizes, once per machine.

They are plain C++ without headers of torch or Python, so a build takes seconds and any
compiler will do. Nothing depends on them: where there is no compiler, the same sums are
made of torch's operations, and one message at level INFO says so.
"""

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from molflt.errors import InputError
from molflt.files import atomic_path

FOLDER = Path(__file__).parent
# Sums may be reordered, for vector instructions; NaN and infinity stay what they are.
FLAGS = (
    *("-O3", "-std=c++17", "-fPIC", "-shared", "-fno-math-errno"),
    *("-fno-trapping-math", "-fassociative-math", "-fno-signed-zeros"),
    "-freciprocal-math",
)
NATIVE = (("-march=native", "-mprefer-vector-width=512"), ("-march=native",), ())
"""For the machine at hand, wide registers included; as far as a compiler knows it."""
SWITCH = "MOLFLT_KERNELS"
"""Environment variable; "0" keeps everything in torch."""

ROWS = 256
"""Rows that a thread takes at once."""

REALS = {torch.float32: "float", torch.float64: "double"}

Argument = Tensor | int | float | None

logger = logging.getLogger(__name__)


class Library:
    """A compiled file.

    Args:
        path: The shared library.
        dtype: Type of its numbers; None: it has none.
    """

    def __init__(self, path: Path, dtype: torch.dtype | None = None) -> None:
        self._library = ctypes.CDLL(str(path))
        self._dtype = dtype

    def function(self, name: str) -> Callable[..., None]:
        """Return a function that takes tensors (or None), integers and numbers."""
        call = getattr(self._library, name)
        call.restype = None

        def run(*arguments: Argument) -> None:
            call(*(_plain(argument, self._dtype) for argument in arguments))

        return run


def _plain(argument: Argument, dtype: torch.dtype | None) -> object:
    """Return an argument as C takes it."""
    if argument is None:
        return ctypes.c_void_p(None)
    if isinstance(argument, Tensor):
        floating = argument.is_floating_point()
        if floating and argument.dtype != dtype:  # C would read memory of others
            raise TypeError(f"The loops are of {dtype}, not of {argument.dtype}.")
        if argument.device.type != "cpu" or not argument.is_contiguous():
            raise TypeError("The loops take contiguous tensors on the CPU.")
        return ctypes.c_void_p(argument.data_ptr())
    if isinstance(argument, float):
        real = ctypes.c_float if dtype == torch.float32 else ctypes.c_double
        return real(argument)
    return ctypes.c_int64(argument)


def load(name: str, dtype: torch.dtype | None = None, **sizes: int) -> Library | None:
    """Return the loops of ``<name>.cpp`` for one set of sizes, or None without them.

    Args:
        name: File in this folder.
        dtype: Floating-point type; None: the file has none.
        sizes: Macros of the file.
    """
    if os.environ.get(SWITCH) == "0" or (dtype is not None and dtype not in REALS):
        return None
    macros = [f"-D{key}={value}" for key, value in sorted(sizes.items())]
    if dtype is not None:
        macros.append(f"-DREAL={REALS[dtype]}")
    return _load(name, tuple(macros), dtype)


def can_compile() -> bool:
    """Whether there are compiled loops on this machine."""
    return load("rows") is not None


@functools.cache
def _load(
    name: str, macros: tuple[str, ...], dtype: torch.dtype | None
) -> Library | None:
    try:
        return Library(_built(name, macros), dtype)
    except (OSError, InputError, subprocess.SubprocessError) as error:
        _say_once(str(error).strip().split("\n")[0].rstrip("."))
        return None


@functools.cache
def _say_once(reason: str) -> None:
    logger.info("Large systems are evaluated by torch alone, more slowly: %s", reason)


def compiler() -> str:
    """Return the C++ compiler: $CXX, c++, g++ or clang++.

    Raises:
        FileNotFoundError: There is none.
    """
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise FileNotFoundError("there is no C++ compiler (set CXX to one)")


def _built(name: str, macros: tuple[str, ...]) -> Path:
    """Return the shared library, built unless an earlier process has done it."""
    command = [compiler(), *FLAGS, *macros, str(FOLDER / f"{name}.cpp")]
    path = _cache() / f"{name}-{_digest(command)}.so"
    if path.exists():
        return path
    with atomic_path(path) as temporary:
        for native in NATIVE:
            done = _compile([*command, *native, "-o", str(temporary)])
            if not done.returncode:
                break
        else:
            why = done.stderr.strip().split("\n")[0]
            raise subprocess.SubprocessError(f"{command[0]} fails on {name}.cpp: {why}")
    return path


def _compile(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def _digest(command: list[str]) -> str:
    """Name a build by all that it depends on, the processor included."""
    version = subprocess.run(
        [command[0], "--version"], capture_output=True, text=True, timeout=60
    ).stdout
    texts = [version, platform.machine(), _processor(), str(NATIVE), *command[1:-1]]
    texts += [path.read_text() for path in sorted(FOLDER.glob("*.[ch]*"))]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:20]


def _processor() -> str:
    """Return what instructions this processor has, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Feat"))), "")


@functools.cache
def _cache() -> Path:
    """Return the folder of builds: the user's own cache, or one for this process."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = root / "molflt"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="molflt-"))
    if not os.access(folder, os.W_OK):
        return Path(tempfile.mkdtemp(prefix="molflt-"))
    return folder


def over_rows(run: Callable[[int, int], None], begin: int, end: int) -> None:
    """Call run(first, last) for all rows from begin to end, on torch's threads.

    Compiled loops release Python's lock, and rows do not share what they write.
    """
    threads = min(torch.get_num_threads(), -(-(end - begin) // ROWS))
    if threads <= 1:
        run(begin, end)
        return
    blocks = [(at, min(at + ROWS, end)) for at in range(begin, end, ROWS)]
    for _ in _pool(threads).map(lambda ends: run(*ends), blocks):
        pass


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="molflt-rows")
