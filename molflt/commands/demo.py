"""``molflt demo``: the main job end to end on the shipped sample."""

import os
from pathlib import Path

from molflt.commands.parser import Parser, positive, positive_number
from molflt.files import writing

CONFIG = Path(__file__).with_name("emt.yaml")
NUM_TRAIN, NUM_VAL = 600, 40
"""Systems that are generated where there is no sample: some minutes on two cores."""


def main(words: list[str]) -> int:
    """Run ``molflt demo`` on the words after it."""
    parser = Parser(
        prog="molflt demo",
        description="Train on the sample of adsorption energies, test on four splits, "
        "predict a structure file, write checkpoint, metrics and plots.",
    )
    add = parser.add_argument
    add("--out", type=Path, default=Path("demo"), help="folder of the results")
    add("--root", type=Path, help="folder of molflt data emt, instead of the sample")
    add("--minutes", type=positive_number, default=8.0, help="limit on training")
    add("--steps", type=positive, help="training steps, instead of what time allows")
    options = parser.parse_args(words)
    out: Path = options.out
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    root = options.root or sample(out / "data")

    from molflt.commands.demo_run import run

    command = " ".join(["molflt demo", *words])
    return run(CONFIG, out, root, options.minutes, options.steps, command)


def sample(instead: Path) -> Path:
    """Return the folder of the shipped sample; generate a smaller one if it is absent.

    Args:
        instead: Where a sample is generated, or was by an earlier demo.
    """
    from molflt.data.emt.datamodule import SAMPLE

    if (SAMPLE / "train.lmdb").is_file():
        return SAMPLE
    if not (instead / "train.lmdb").is_file():
        from molflt.data.emt.generate import generate

        systems = NUM_TRAIN + 4 * NUM_VAL
        print(
            "The sample comes with the repository, not with the installed package: "
            f"generating a smaller one, {systems} systems, in {instead}."
        )
        workers = os.cpu_count() or 1
        generate(instead, NUM_TRAIN, workers=workers, progress=None, num_val=NUM_VAL)
    return instead
