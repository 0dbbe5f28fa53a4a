"""EMT IS2RE: what `molflt demo` reaches on the shipped sample, on four splits.

    python benchmarks/emt_is2re.py [--minutes 8]
    python benchmarks/emt_is2re.py --metrics demo/metrics.json   of a run of `make demo`

Writes results/emt_is2re.json: the demo's metrics with machine, versions, commit and
command of the run.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from record import RESULTS

from molflt.files import atomic_path


def main() -> None:
    """Run the demo, or take a run there is, and keep its numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--metrics", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.metrics
        if path is None:
            words = ["demo", "--out", folder, "--minutes", str(arguments.minutes)]
            subprocess.run([sys.executable, "-m", "molflt", *words], check=True)
            path = Path(folder) / "metrics.json"
        metrics = json.loads(path.read_text())
        # A folder that only this machine had, and no longer has.
        metrics["command"] = metrics["command"].replace(folder, "demo")
    RESULTS.mkdir(exist_ok=True)
    with atomic_path(RESULTS / "emt_is2re.json") as temporary:
        temporary.write_text(json.dumps(metrics, indent=1) + "\n")


if __name__ == "__main__":
    main()
