"""What the weight of forces in the loss does to a force field of many elements.

    molflt data emt frames --frames --num 700 --num-val 20
    python benchmarks/force_weights.py --root frames        ten minutes of one thread

The same steps of `configs/emt_forces.yaml` for each weight, one seed; errors on
`val_id`. Writes results/force_weights.json.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from loop import one_thread
from pytorch_lightning import Trainer
from record import write_result

from molflt.commands.lightning import FLTCLI

CONFIG = Path(__file__).resolve().parent.parent / "configs" / "emt_forces.yaml"
WEIGHTS = (3.0, 20.0, 50.0, 100.0)  # Å
QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def trained(root: Path, weight: float, steps: int) -> dict[str, Any]:
    """Train with one weight; return the errors on `val_id` and the time of a step."""
    words = ["--config", str(CONFIG), f"--data.init_args.root={root}"]
    words += [f"--model.force_weight={weight}", "--trainer.limit_val_batches=0"]
    words += ["--trainer.max_epochs=-1", f"--trainer.max_steps={steps}"]
    words += [f"--trainer.{key}={str(value).lower()}" for key, value in QUIET.items()]
    cli = FLTCLI(words, run=False)
    start = time.process_time()
    cli.trainer.fit(cli.model, datamodule=cli.datamodule)
    spent = time.process_time() - start
    judge = Trainer(**QUIET, inference_mode=False)  # forces are gradients
    judge.validate(cli.model, cli.datamodule, verbose=False)
    found = judge.callback_metrics
    return {
        "force_weight": weight,
        "steps": steps,
        "seconds_per_step": spent / steps,
        "energy_mae_eV": float(found["val_id/energy/mae_eV"]),
        "force_mae_eV_per_A": float(found["val_id/energy/force_mae_eV_per_A"]),
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=Path("frames"))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--weights", type=float, nargs="+", default=WEIGHTS)
    options = parser.parse_args()
    one_thread()
    rows = []
    for weight in options.weights:
        rows.append(trained(options.root, weight, options.steps))
        print(rows[-1], flush=True)
    print(write_result("force_weights", {"rows": rows}))


if __name__ == "__main__":
    main()
