"""What a reader needs to judge or repeat a measurement."""

import hashlib
import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from molflt.pretrained import checkpoint_path
from molflt.version import __version__

MOST_ERRORS = 6  # of a sentence
PACKAGES = ("torch", "torch-geometric", "pytorch-lightning", "numpy", "ase")


def provenance() -> dict[str, Any]:
    """Return date, machine, versions, and the commit if this is a git checkout."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "platform": platform.platform(),
        },
        "versions": {"python": platform.python_version(), "molflt": __version__}
        | {name: _version(name) for name in PACKAGES},
        "commit": _commit(),
    }


def origin_words(origin: dict[str, Any]) -> str:
    """Return one sentence on where a model comes from; empty where nobody noted it.

    Args:
        origin: `FLTModel.origin`.
    """
    parts = [str(origin.get("name", ""))]
    if "data" in origin:
        parts.append(f"trained on {origin['data']}")
    if origin.get("commit"):
        parts.append(f"commit {origin['commit'][:10]}")
    errors = origin.get("errors", {})
    # Of the set like the training set, where there are others.
    split = "val_id" if any(n.startswith("val_id/") for n in errors) else "val"
    shown = [
        f"{name.removeprefix(f'{split}/')} {value:.3g}"
        for name, value in errors.items()
        if name.startswith(f"{split}/")
    ]
    # Of many targets they would fill the screen: `target_words` has those of each.
    parts += shown if len(shown) <= MOST_ERRORS else []
    if (before := origin.get("started_from")) is not None:
        parts.append(f"started from {origin_words(before)}")
    return ", ".join(filter(None, parts))


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def checkpoint_digest(source: str | Path) -> str:
    """Return the first 16 digits of the SHA-256 of a checkpoint, by path or name."""
    return file_sha256(checkpoint_path(source))[:16]


def checkpoint_words(source: object) -> str:
    """Return the name of a checkpoint with its `checkpoint_digest`.

    Args:
        source: Its path, or the name of a shipped one; a model itself has no file.
    """
    if not isinstance(source, str | Path):
        return "a model in memory"
    return f"{source} (SHA-256 {checkpoint_digest(source)})"


def target_words(origin: dict[str, Any], target: str) -> str:
    """Return the mean absolute errors of a target by validation set; may be empty.

    Args:
        origin: `FLTModel.origin`.
        target: Name of the target.
    """
    found = []
    for name, value in origin.get("errors", {}).items():
        split, _, metric = name.partition("/")
        if metric.startswith(f"{target}/mae_"):
            found.append(f"{value:.3g} on {split}")
    return f"MAE {', '.join(found)}" if found else ""


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.machine()


def _commit() -> str | None:
    """Return the commit of the checkout this package runs from; None: no checkout."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    words = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
