"""Train one of the small models that travel in the package.

    python scripts/train_shipped.py emt-is2re
    python scripts/train_shipped.py emt-forces --root frames
    python scripts/train_shipped.py qm9-properties --root data/qm9
    python scripts/train_shipped.py qm9-properties --root data/qm9 --start FIRST.ckpt

`emt-is2re`: adsorption energies after relaxation from initial structures, trained on
the shipped sample (configs/emt.yaml). `emt-forces`: a force field, on frames of
`molflt data emt frames --frames --num 700 --num-val 20` (configs/emt_forces.yaml).
Both are models of ASE's EMT, no chemistry. `qm9-properties`: the twelve usual targets
of QM9, on what `molflt data qm9 data/qm9` packs (configs/qm9.yaml), of the molecules
without fluorine: the numbers of the others are appended to uncharacterized.txt. With
--start, its training goes on from a checkpoint, at half the rate.

Written is the best model without the state of its training, with its origin: data,
commit, command, machine, steps and the errors on every validation set. They take 10, 55
and 80 + 60 minutes of one thread. Further words are options of `molflt fit`, such as
--trainer.max_epochs=1.
"""

import argparse
import shlex
import sys
import time
from pathlib import Path

from molflt.checkpoint import load, save_model
from molflt.commands.lightning import FLTCLI, train
from molflt.pretrained import FOLDER

ROOT = Path(__file__).resolve().parent.parent
LARGEST = 10_000_000  # bytes, all together
CONFIGS = {
    "emt-is2re": "emt.yaml",
    "emt-forces": "emt_forces.yaml",
    "qm9-properties": "qm9.yaml",
}
DATA = {
    "emt-is2re": "the sample data/emt_is2re",
    "emt-forces": "frames of `molflt data emt frames --frames --num 700 --num-val 20`",
    "qm9-properties": "molecules of QM9 without fluorine",
}
OPTIONS = {
    "qm9-properties": (
        "--data.init_args.num_val=2000",
        "--data.init_args.in_memory=true",
    )
}
FIRST = {
    "qm9-properties": (
        "--model.encoder.init_args.density_elements=HCNO",
        "--trainer.max_epochs=7",
    )
}
AGAIN = (
    "--model.encoder=molflt.training.pretrained.Pretrained",
    "--model.encoder.init_args.references=keep",
    "--model.lr=0.0005",
    "--trainer.max_epochs=5",
)
"""What differs from the configuration: always, from nothing, and with --start."""


def main(words: list[str] | None = None) -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("name", choices=tuple(CONFIGS))
    add("--out", type=Path, default=FOLDER, help="folder of the checkpoint")
    add("--work", type=Path, default=Path("runs"), help="folder of all the rest")
    add("--root", type=Path, help="folder of the data")
    add("--start", type=Path, help="checkpoint to start from, instead of from nothing")
    add("--ckpt-path", type=Path, help="last.ckpt of an interrupted run, to go on with")
    add("--before", help="what that run was, for the origin")
    options, more = parser.parse_known_args(words)
    start = FIRST.get(options.name, ())
    if options.start is not None:
        start = (*AGAIN, f"--model.encoder.init_args.checkpoint={options.start}")
    cli = FLTCLI(
        [
            *("--config", str(ROOT / "configs" / CONFIGS[options.name])),
            *(f"--name={options.name}", f"--runs={options.work}"),
            *([f"--data.init_args.root={options.root}"] if options.root else []),
            *OPTIONS.get(options.name, ()),
            *start,
            *more,
        ],
        run=False,
    )
    started = time.perf_counter()
    if options.ckpt_path is None:
        train(cli)
    else:
        cli.model.resume_from(options.ckpt_path)
        train(cli, ckpt_path=options.ckpt_path)
    model = load(cli.trainer.checkpoint_callback.best_model_path)
    origin = {**model.origin, "name": options.name, "data": DATA[options.name]}
    origin["command"] = command(words)
    seconds = time.perf_counter() - started  # of this process, beyond the best weights
    origin["training"]["run_seconds"] = round(seconds)
    origin["training"]["parameters"] = model.num_parameters
    if options.ckpt_path is not None:
        origin["before"] = options.before or "the same, interrupted"
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{options.name}.ckpt"
    save_model(model, path, origin)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB; {origin['errors']}")
    if sum(file.stat().st_size for file in options.out.glob("*.ckpt")) > LARGEST:
        raise SystemExit(f"Larger than {LARGEST / 1e6:g} MB together.")


def command(words: list[str] | None) -> str:
    """Return the command, without folders that only this machine has."""
    given = sys.argv[1:] if words is None else words
    short = [Path(word).name if Path(word).is_absolute() else word for word in given]
    return shlex.join(["python", "scripts/train_shipped.py", *short])


if __name__ == "__main__":
    main()
