"""What `molflt inspect` costs, and how its page behaves in a browser.

    python benchmarks/inspect_page.py

A slab of copper with an adsorbate, of 200 and of 5,000 atoms, and a model with the
options of configs/emt.yaml, untrained: what is looked at does not change the cost.
Timed is the whole command, Python's start and imports included, on one thread;
wall-clock time beside CPU time, as another job may share the machine. The page is then
opened in a headless Chromium without a graphics card, if there is one: seconds until it
can be used, and milliseconds from a turn and a new head to the finished picture (the
middle one of 15). Some two minutes. Writes results/inspect_page.json.
"""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ase.io
import torch
import yaml
from ase.build import add_adsorbate, fcc111, molecule
from record import write_result

from molflt.checkpoint import save_model
from molflt.model import FLTEncoder, FLTModel
from molflt.targets import TargetSpec

ROOT = Path(__file__).resolve().parent.parent
SLABS = {"200 atoms": (7, 7, 4), "5,000 atoms": (25, 25, 8)}
TURN = """() => Array.from({length: 15}, (_, k) => {
    const start = performance.now(), head = document.getElementById("head");
    Scene.view.yaw += 0.1;
    head.value = String(k % 3);
    head.dispatchEvent(new Event("input"));
    Scene.draw();
    return performance.now() - start;
}).sort((a, b) => a - b)[7]"""


def main() -> None:
    """Measure and write the result."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_model(untrained(), folder / "model.ckpt")
        pages = {label: measure(folder, size) for label, size in SLABS.items()}
    print(write_result("inspect_page", {"pages": pages, "threads": 1}))


def untrained() -> FLTModel:
    """Return a model as configs/emt.yaml builds it."""
    config = yaml.safe_load((ROOT / "configs" / "emt.yaml").read_text())
    torch.manual_seed(0)
    encoder = FLTEncoder(**config["model"]["encoder"]["init_args"])
    return FLTModel(encoder, [TargetSpec("energy", kind="relaxed")])


def measure(folder: Path, size: tuple[int, int, int]) -> dict[str, Any]:
    """Return times and size of the page of one slab."""
    slab = fcc111("Cu", size, vacuum=9.0, periodic=False)
    add_adsorbate(slab, molecule("CO"), 1.9, "ontop", mol_index=1)
    slab.rattle(0.05, seed=1)
    ase.io.write(folder / "slab.traj", slab)
    out = folder / "report.html"
    command = [sys.executable, "-m", "molflt", "inspect", folder / "model.ckpt"]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [*command, folder / "slab.traj", "-o", out],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = {
        "atoms": len(slab),
        "seconds": seconds,
        "cpu_seconds": cpu,
        "megabytes": out.stat().st_size / 1e6,
        "notes": done.stdout.splitlines()[1:],
        **opened(out),
    }
    print({key: value for key, value in found.items() if key != "notes"})
    return found


def opened(path: Path) -> dict[str, Any]:
    """Return how the page behaves in Chromium; nothing where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        return {}
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        started = time.perf_counter()
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]", timeout=60_000)
        ready = time.perf_counter() - started
        frame = page.evaluate(TURN)
        version = browser.version
        browser.close()
    return {"seconds_to_open": ready, "ms_a_frame": frame, "chromium": version}


if __name__ == "__main__":
    main()
