"""Result files: numbers with the machine, versions, commit and command behind them."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

from molflt.files import atomic_path
from molflt.provenance import provenance

RESULTS = Path(__file__).resolve().parent / "results"
# Taken at the start: the checkout may have moved on when a long run ends.
PROVENANCE = provenance()


def write_result(name: str, content: dict[str, Any]) -> Path:
    """Write ``results/<name>.json`` whole or not at all; return its path."""
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    words = [Path(w).name if Path(w).is_absolute() else w for w in sys.argv]
    command = {"command": shlex.join(["python", *words])}
    with atomic_path(path) as temporary:
        text = json.dumps({**content, **command, **PROVENANCE}, indent=1)
        temporary.write_text(text + "\n")
    return path
