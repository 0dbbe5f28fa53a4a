"""Ways to run molflt: a configuration of seconds, processes, scripts by their path."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "configs"

# Four epochs of a second or so, on data that are made and not read.
CONFIG = """
name: clusters
model:
  encoder:
    class_path: molflt.FLTEncoder
    init_args: {width: 16, num_layers: 1, num_near_heads: 2, num_far_heads: 1}
  lr: 0.003
data:
  class_path: tests.training.clusters.Clusters
checkpoint:
  monitor: val_near/energy/mae_eV
ema:
  decay: 0.9
trainer:
  max_epochs: 4
  accelerator: cpu
  log_every_n_steps: 2
"""


def python(*words, **options) -> subprocess.CompletedProcess[str]:
    """Run Python with molflt and tests of this checkout, and keep what it says."""
    return subprocess.run(
        [sys.executable, *map(str, words)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        **options,
    )


def script(path) -> ModuleType:
    """Import a script of this checkout that is in no package."""
    path = ROOT / path
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
