"""Result files: numbers with the machine, versions, commit and command behind them."""

import json
import platform
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from molflt.files import atomic_path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("molflt", "torch", "torch-geometric", "pytorch-lightning", "numpy", "ase")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    changed = git(
        "status", "--porcelain", "--untracked-files=no", "molflt", "benchmarks"
    )
    return git("rev-parse", "HEAD") + (" with changes" if changed else "")


def provenance() -> dict[str, Any]:
    """Return what a reader needs to judge or repeat a measurement."""
    return {
        "command": " ".join(["python", *sys.argv]),
        "commit": _commit(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "processor": _processor(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def write_result(name: str, content: dict[str, Any]) -> Path:
    """Write ``results/<name>.json`` whole or not at all; return its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps({**content, **provenance()}, indent=1) + "\n")
    return path
