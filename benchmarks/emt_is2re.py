"""EMT IS2RE: what `molflt demo` reaches on the shipped sample, on four splits.

    python benchmarks/emt_is2re.py [--minutes 8]

Trains as `make demo` does and writes results/emt_is2re.json.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from record import write_result


def main() -> None:
    """Run the demo in a temporary folder and keep its numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=8.0)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory() as folder:
        words = ["demo", "--out", folder, "--minutes", str(minutes)]
        subprocess.run([sys.executable, "-m", "molflt", *words], check=True)
        metrics = json.loads((Path(folder) / "metrics.json").read_text())
    kept = {key: metrics[key] for key in ("training", "results")}
    print(write_result("emt_is2re", {"minutes": minutes, **kept}))


if __name__ == "__main__":
    main()
